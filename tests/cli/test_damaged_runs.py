"""A run with a damaged file: every verb that reads it names it in one line, or goes on without."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from releases import Run as Command

from mnistnet.errors import Interrupted
from mnistnet.training.fit import Progress
from mnistnet.training.recipe import Recipe
from mnistnet.training.runs import Run
from mnistnet.training.train import train
from mnistnet.training.trials import trials, trials_file

ONE = Recipe(batch_size=50, threads=1, engine="torch")
SERIES = trials_file(Path(), ONE).as_posix()
VALUES = (  # as they stand in a JSON file
    *("null", '"\\ud800"', "[[1]]", "-1", "NaN", "9" * 400, "9" * 5000, "[" * 9999 + "]" * 9999),
    "{",
)
SHAPE = {"dtype": "F32", "shape": [2**63 - 1], "data_offsets": [0, 8]}


@pytest.fixture(scope="module")
def runs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: `whole`, `cut` in its second epoch, and a series of one trial."""
    runs = tmp_path_factory.mktemp("runs")

    def interrupt(progress: Progress) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt

    train(ONE, data=tiny, runs=runs, name="whole")
    with pytest.raises(Interrupted):
        train(ONE.replacing(epochs=2), data=tiny, runs=runs, name="cut", on_progress=interrupt)
    list(trials(ONE, 1, data=tiny, runs=runs))
    return runs


def damaged(content: bytes) -> Iterator[bytes | None]:
    """Yield what may be left of a file; None: a folder lies in its place."""
    yield from (None, b"\0" * 99 + b"\n", b"\xff" + content, bytes(range(256)) + b"\n")
    if not content.startswith(b"{"):  # safetensors: the header's length, the header, numbers
        yield from (content[: len(content) // 2], b"\xff" * 8 + content[8:])
        length = int.from_bytes(content[:8], "little")
        header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
        yield content[: 8 + length] + b"\xff" * len(body)
        name = next(name for name in header if name != "__metadata__")
        for other in ({}, header | {name: 5}, header | {name: SHAPE}):
            text = json.dumps(other).encode()
            yield len(text).to_bytes(8, "little") + text + body
        return
    document = json.loads(content)
    yield from (f"{value}\n".encode() for value in VALUES)
    for value in VALUES:
        fields = ", ".join(f"{json.dumps(key)}: {value}" for key in document)
        yield f"{{{fields}}}\n".encode()
    yield from (json.dumps({**document, key: []}).encode() + b"\n" for key in document)
    yield json.dumps({**document, "more": 1}).encode() + b"\n"


OPTIONS = ("--batch-size", "50", "--threads", "1", "--engine", "torch", "--runs", "RUNS")
EVAL = ("eval", "RUNS/whole", "--quick", "-o", "RUNS/report")
EXPORT = ("export", "RUNS/whole", "-o", "RUNS/bundle")
RESUME = ("train", "--name", "cut", "--resume", "--runs", "RUNS")
AGAIN = ("train", "--recipe", "RUNS/whole/recipe.json", "--runs", "RUNS")


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        (EVAL, "whole/recipe.json"),
        *product([EVAL, EXPORT], ["whole/origin.json", "whole/weights.safetensors"]),
        *product([RESUME], [f"cut/{name}" for name in ("recipe.json", "origin.json")]),
        *((RESUME, "cut/checkpoint.safetensors"), (AGAIN, "whole/recipe.json")),
        (("trials", "--seeds", "1", *OPTIONS), SERIES),
    ],
)
def test_a_damaged_file_is_named_in_one_line(
    verb: tuple[str, ...],
    name: str,
    runs: Path,
    tiny: Path,
    tmp_path: Path,
    run: Command,
) -> None:
    for content in damaged((runs / name).read_bytes()):
        here = shutil.copytree(runs, tmp_path / "runs")
        (here / name).unlink()
        (here / name).mkdir() if content is None else (here / name).write_bytes(content)
        words = (word.replace("RUNS", str(here)) for word in verb)
        code, _, err = run(*words, "--data", tiny)
        assert code == 2, content
        assert str((here / name).parent) in err.splitlines()[-1], content
        shutil.rmtree(here)


def test_what_is_damaged_in_the_metrics_is_left_out(
    runs: Path, tiny: Path, tmp_path: Path, run: Command
) -> None:
    here = shutil.copytree(runs, tmp_path / "runs")
    metrics = Run(here / "cut").metrics_file
    whole = metrics.read_bytes()
    first, _ = whole.splitlines(keepends=True)
    others = [content for content in damaged(first) if content and first not in content]
    metrics.write_bytes(b"".join([*others, whole, first[:-9]]))
    words = ("train", "--name", "cut", "--resume", "--runs", here, "--data", tiny)
    assert run(*words)[0] == 0
    assert [line.epoch for line in Run(here / "cut").metrics()] == [1, 2]
