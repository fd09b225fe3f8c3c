"""A run's folder is created once, holds all files that it should, and is never half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from mnistnet.errors import Interrupted, RunError
from mnistnet.training.lifecycle import new_run
from mnistnet.training.recipe import Recipe
from mnistnet.training.runs import Measurement, Run
from mnistnet.training.train import TrainResult

LINE = Measurement(network=1, epoch=1, batch=1, batches=9, images=50, loss=2.3, accuracy=0.1)


def test_a_finished_run_holds_recipe_metrics_weights_and_a_page(
    fast_run: TrainResult,
) -> None:
    folder = fast_run.run.folder
    assert {p.name for p in folder.iterdir()} == {
        "recipe.json",
        "origin.json",
        "metrics.jsonl",
        "weights.safetensors",
        "batch.png",
        "mistakes.png",
        "report.html",
    }
    assert fast_run.run.recipe() == Recipe()
    for picture in folder.glob("*.png"):
        with Image.open(picture) as image:
            image.load()
            assert min(image.size) > 300
            assert len(image.convert("L").getcolors(256) or []) > 10  # something is drawn


def test_the_page_of_a_run_has_its_accuracy_its_origin_and_two_curves(
    fast_run: TrainResult,
) -> None:
    page = (fast_run.run.folder / "report.html").read_text(encoding="utf-8")
    assert f"It classifies {fast_run.correct:,} of 10,000 pictures correctly" in page
    assert "MNIST’s test images" in page
    assert page.count("thousand images seen") == 2
    assert 'id="robustness"' not in page
    assert "model · recipe · batch_size" in page


def test_the_metrics_run_from_the_first_100_batches_to_the_result(
    fast_run: TrainResult,
) -> None:
    lines = fast_run.run.metrics()
    assert [line.batch for line in lines[:2]] == [100, 200]
    assert lines[-1].batch == lines[-1].batches
    assert lines[-1].loss < lines[0].loss
    *_, result = fast_run.run.metrics_file.read_bytes().splitlines()
    assert json.loads(result) == {"judged_on": "test", "correct": fast_run.correct, "of": 10_000}


def test_runs_without_a_name_are_numbered(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        with new_run(tmp_path, None, Recipe(), overwrite=False) as run:
            names.append(run.folder.name)
    assert names == ["fast-1", "fast-2", "fast-3"]


def _failing_run(
    root: Path, name: str, *, overwrite: bool = False, error: type[Exception] = ZeroDivisionError
) -> None:
    with new_run(root, name, Recipe(seed=1), overwrite=overwrite) as run:
        run.log(LINE)
        raise error("by the test")


def test_a_name_that_is_taken_is_refused_and_the_run_unchanged(tmp_path: Path) -> None:
    with new_run(tmp_path, "mine", Recipe(), overwrite=False) as run:
        run.log(LINE)
    with pytest.raises(RunError, match="exists already"):
        _failing_run(tmp_path, "mine")
    assert run.recipe() == Recipe()
    assert run.metrics() == [LINE]


def test_overwrite_replaces_neither_a_folder_that_is_no_run_nor_a_link_to_a_run(
    tmp_path: Path,
) -> None:
    precious = tmp_path / "photos" / "1.jpg"
    precious.parent.mkdir()
    precious.write_bytes(b"precious")
    with new_run(tmp_path, "elsewhere", Recipe(), overwrite=False) as run:
        run.log(LINE)
    (tmp_path / "link").symlink_to("elsewhere")
    for name in ("photos", "link"):
        with pytest.raises(RunError, match="is a link, or no run"):
            _failing_run(tmp_path, name, overwrite=True)
    assert precious.read_bytes() == b"precious"
    assert (tmp_path / "link").is_symlink()
    assert run.metrics() == [LINE]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/b", "a\\b", "a\n", "-x", "x" * 200, "é"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="cannot name a run"):
        _failing_run(tmp_path / "runs", name)
    assert not list((tmp_path / "runs").iterdir())


def test_a_failed_run_leaves_nothing_and_an_interrupted_one_its_metrics(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        _failing_run(tmp_path, "failed")
    with pytest.raises(Interrupted):
        _failing_run(tmp_path, "cut", error=Interrupted)
    assert [p.name for p in tmp_path.iterdir()] == ["cut"]
    assert Run(tmp_path / "cut").metrics() == [LINE]
