"""The same seed gives the same weights, bit for bit, also through an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

from mnistnet.data import DataSet, Split
from mnistnet.errors import Interrupted, RunError
from mnistnet.training.fit import Progress, fit
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import Recipe
from mnistnet.training.train import TrainResult, resume, train

ALONE = Recipe(epochs=2, batch_size=100)
DISTILLED = ALONE.replacing(teachers=2)  # six epochs in all
TORCH = DISTILLED.replacing(engine="torch", teachers=1, blur=0.5, dropout=0.1)


@pytest.mark.parametrize(
    "how",
    [
        ("native", "auto", 1),
        ("native", "auto", 2),
        ("native", "float32", 2),
        ("torch", "float32", 1),
        ("torch", "bfloat16", 1),
    ],
    ids=lambda how: "-".join(map(str, how)),
)
def test_the_same_seed_gives_the_same_bits(
    mnist: DataSet, how: tuple[str, str, int], request: pytest.FixtureRequest
) -> None:
    if how[0] == "native":
        request.getfixturevalue("native_library")
    few = Split(mnist.train.images[:200], mnist.train.labels[:200])
    recipe = DISTILLED.replacing(
        epochs=1, teachers=1, engine=how[0], precision=how[1], threads=how[2]
    )
    engine = engine_for(recipe)
    one, two, other = (
        fit(recipe.replacing(seed=seed), few, engine).values.tobytes() for seed in (0, 0, 1)
    )
    assert one == two
    assert one != other


def _interrupt_in_epoch(epoch: int) -> Callable[[Progress], None]:
    def on_progress(progress: Progress) -> None:
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    return on_progress


def _interrupted_run(recipe: Recipe, epoch: int, *, data: Path, runs: Path) -> None:
    message = f"interrupted in epoch {epoch} of {recipe.epochs_in_all}, "
    with pytest.raises(Interrupted, match=message) as interrupted:
        train(recipe, data=data, runs=runs, name="cut", on_progress=_interrupt_in_epoch(epoch))
    assert interrupted.value.run == "cut"


@pytest.fixture(scope="module")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Recipe, TrainResult]:
    """Uninterrupted runs of all recipes."""
    runs = tmp_path_factory.mktemp("whole")
    return {recipe: train(recipe, data=tiny, runs=runs) for recipe in (ALONE, DISTILLED, TORCH)}


@pytest.mark.parametrize(
    ("recipe", "epoch"),
    [(ALONE, 2), (DISTILLED, 3), (DISTILLED, 5), (DISTILLED, 6), (TORCH, 4)],
    ids=["alone", "second teacher", "distilled network", "its last epoch", "in torch"],
)
def test_a_run_interrupted_at_any_stage_resumes_to_the_bits_of_an_uninterrupted_one(
    recipe: Recipe, epoch: int, whole: dict[Recipe, TrainResult], tiny: Path, tmp_path: Path
) -> None:
    _interrupted_run(recipe, epoch, data=tiny, runs=tmp_path)
    resumed, run = resume(name="cut", data=tiny, runs=tmp_path).run, whole[recipe].run
    assert resumed.weights_file.read_bytes() == run.weights_file.read_bytes()
    assert resumed.metrics() == run.metrics()
    assert {p.name for p in resumed.folder.iterdir()} == {p.name for p in run.folder.iterdir()}


def test_a_run_resumes_with_the_threads_and_the_compiler_that_it_was_begun_with(
    whole: dict[Recipe, TrainResult], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _interrupted_run(ALONE, 2, data=tiny, runs=tmp_path)
    origin_file = tmp_path / "cut" / "origin.json"
    origin = json.loads(origin_file.read_text())
    here = origin["environment"]
    origin["environment"] = here | {"compiler": "another"}
    origin_file.write_text(json.dumps(origin))
    with pytest.raises(RunError, match="was begun with another compiler than there is here"):
        resume(name="cut", data=tiny, runs=tmp_path)
    origin_file.write_text(json.dumps(origin | {"environment": here}))
    monkeypatch.setenv("OMP_NUM_THREADS", str(3 - here["threads"]))
    resumed = resume(name="cut", data=tiny, runs=tmp_path).run
    assert resumed.weights_file.read_bytes() == whole[ALONE].run.weights_file.read_bytes()
    assert resumed.origin().environment == here


def test_only_an_unfinished_run_with_an_undamaged_checkpoint_resumes(
    whole: dict[Recipe, TrainResult], tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="there is no run to resume"):
        resume(name="none", data=tiny, runs=tmp_path)
    done = whole[ALONE].run.folder
    with pytest.raises(RunError, match="is complete"):
        resume(name=done.name, data=tiny, runs=done.parent)
    _interrupted_run(DISTILLED, 4, data=tiny, runs=tmp_path)
    checkpoint = tmp_path / "cut" / "checkpoint.safetensors"
    tensors = load_file(checkpoint)
    with safe_open(checkpoint, framework="numpy") as file:
        metadata = file.metadata()
    state, teachers = tensors["state"], tensors["teachers"]
    assert len(teachers) == 1
    for damaged in (
        checkpoint.read_bytes()[:-100],
        save({"state": state}, metadata),
        save({"state": state, "teachers": teachers[:0]}, metadata),
        save({"state": state[1:], "teachers": teachers}, metadata),
        save({"state": state.astype(np.float64), "teachers": teachers}, metadata),
        save(tensors, {**metadata, "epochs_done": "7"}),  # of 6
        save(tensors, {**metadata, "steps": "-5"}),
        save(tensors, {name: text for name, text in metadata.items() if name != "steps"}),
    ):
        checkpoint.write_bytes(damaged)
        with pytest.raises(RunError, match=r"checkpoint\.safetensors: is not a checkpoint"):
            resume(name="cut", data=tiny, runs=tmp_path)
