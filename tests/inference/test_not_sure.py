"""What is likely no digit, or likely misread, is answered "not sure"."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from drawing import Scene, draw_picture
from PIL import Image

from mnistnet import Predictor
from mnistnet import data as datasets
from mnistnet.bundle.export_run import export_run
from mnistnet.bundle.threshold import CHOSEN_BEFORE, choose_threshold
from mnistnet.errors import UsageError
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.metrics.negatives import draw_negatives
from mnistnet.metrics.scores import auroc
from mnistnet.training.recipe import recipe_named
from mnistnet.training.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.data import DataSet
    from mnistnet.inference import Prediction

CHOSEN = CHOSEN_BEFORE["release"]  # the recipe of the bundle that the package ships
PICTURES = 60  # of each kind


@pytest.fixture(scope="module")
def others() -> dict[str, list[Prediction]]:
    """What the shipped bundle makes of pictures that show no digit."""
    predictor = Predictor(threshold=CHOSEN)
    pictures = draw_negatives(PICTURES, seed=1)
    return {kind: predictor.predict_many(drawn) for kind, drawn in pictures.items()}


def _drawn_digits() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(2)
    return [draw_picture(digit, Scene(), rng) for digit in range(10) for _ in range(6)]


def _predict(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "utf8", "-m", "mnistnet", "predict", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, encoding="utf-8", check=False, timeout=100
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clear digit, blank paper, and a scribble that is read as something, but hardly."""
    folder = tmp_path_factory.mktemp("pictures")
    predictor = Predictor()
    scribbles = draw_negatives(PICTURES, seed=1)["scribbles"]
    hardly = min(scribbles, key=lambda picture: predictor.predict(picture).confidence)
    four = draw_picture(4, Scene(), np.random.default_rng(1))
    blank = np.full((90, 90), 255, np.uint8)
    for name, picture in (("four", four), ("blank", blank), ("scribble", hardly)):
        Image.fromarray(picture).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def careful_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle, but for a threshold that nothing reaches."""
    bundle = tmp_path_factory.mktemp("bundles") / "careful"
    shutil.copytree(DEFAULT_BUNDLE, bundle)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"threshold": 0.999999}))
    return bundle


@pytest.mark.parametrize(
    ("kind", "floor"),
    [("letters", 0.8), ("scribbles", 0.85), ("blank paper", 1.0), ("ruled paper", 0.8)],
)
def test_confidence_tells_digits_from_what_is_none(
    kind: str, floor: float, others: dict[str, list[Prediction]], mnist: DataSet
) -> None:
    """A network that is untrained, or always as sure, has 0.5."""
    digits = Predictor().classify(mnist.test.images[:2000]).max(axis=1)
    assert auroc(digits, [answer.confidence for answer in others[kind]]) >= floor


def test_of_what_is_no_digit_it_is_mostly_not_sure(others: dict[str, list[Prediction]]) -> None:
    assert np.mean([answer.sure for answers in others.values() for answer in answers]) < 0.5
    assert not any(answer.sure for answer in others["blank paper"])


def test_of_clear_digits_it_is_sure(mnist: DataSet) -> None:
    predictor = Predictor(threshold=CHOSEN)
    assert np.mean([answer.sure for answer in predictor.predict_many(_drawn_digits())]) > 0.9
    images = mnist.test.images[:2000]
    assert (predictor.classify(images).max(axis=1) >= CHOSEN).mean() > 0.96


def test_the_digit_is_what_the_network_says_however_unsure() -> None:
    pictures = _drawn_digits()[::6]
    careless, careful = (Predictor(threshold=level).predict_many(pictures) for level in (0, 1))
    assert [answer.digit for answer in careless] == [answer.digit for answer in careful]
    assert all(answer.sure for answer in careless)
    assert not any(answer.sure for answer in careful)


def test_a_confidence_that_just_reaches_the_threshold_is_sure() -> None:
    picture = _drawn_digits()[0]
    confidence = Predictor().predict(picture).confidence
    assert Predictor(threshold=confidence).predict(picture).sure
    assert not Predictor(threshold=np.nextafter(confidence, 1)).predict(picture).sure


def test_without_ink_it_is_never_sure() -> None:
    assert not Predictor(threshold=0).predict(np.full((90, 90), 255, np.uint8)).sure


def test_the_threshold_is_the_bundles_unless_another_is_given(careful_bundle: Path) -> None:
    assert Predictor(careful_bundle).threshold == 0.999999
    picture = _drawn_digits()[0]
    assert not Predictor(careful_bundle).predict(picture).sure
    assert Predictor(careful_bundle, threshold=0.3).predict(picture).sure


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match=f"^the threshold is {threshold}; it lies between 0 and 1"):
        Predictor(threshold=threshold)


def test_the_command_says_not_sure(folder: Path) -> None:
    done = _predict("--threshold", CHOSEN, "four.png", "scribble.png", "blank.png", cwd=folder)
    four, scribble, blank = done.stdout.splitlines()
    assert four.startswith("four.png: 4  ")
    assert "not sure" not in four
    assert "%  not sure" in scribble
    assert blank == "blank.png: no digit (there is no ink in the picture)"
    assert (done.returncode, done.stderr) == (0, "")


def test_json_says_whether_it_is_sure(folder: Path) -> None:
    names = ("four.png", "scribble.png", "blank.png")
    done = _predict("--json", "--threshold", CHOSEN, *names, cwd=folder)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["sure"] for answer in answers] == [True, False, False]
    assert answers[1]["digit"] in range(10)


def test_the_command_takes_the_bundles_threshold_and_its_own_before_that(
    folder: Path, careful_bundle: Path
) -> None:
    assert "not sure" in _predict("--bundle", careful_bundle, "four.png", cwd=folder).stdout
    eased = _predict("--bundle", careful_bundle, "--threshold", "0.3", "four.png", cwd=folder)
    assert "not sure" not in eased.stdout


@pytest.mark.parametrize("threshold", ["1.5", "-1", "nan"])
def test_the_command_refuses_a_threshold_that_is_no_probability(
    threshold: str, folder: Path
) -> None:
    done = _predict("--threshold", threshold, "four.png", cwd=folder)
    message = f"mnistnet: the threshold is {float(threshold)}; it lies between 0 and 1\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_validation_digits_choose_the_threshold_and_98_in_100_of_them_stay_sure() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.2, 1, 1000)
    answers = np.full((1000, 10), ((1 - confidences) / 9)[:, None])
    answers[:, 3] = confidences
    recipe = recipe_named("release").replacing(validation=1000)
    threshold = choose_threshold(recipe, answers, np.full(1000, 3, np.uint8))
    assert (confidences >= threshold).sum() == 980
    assert threshold == pytest.approx(np.sort(confidences)[20], abs=1e-4)


@pytest.mark.slow
def test_a_run_with_held_out_images_is_exported_with_the_threshold_that_they_chose(
    few_digits: Path, tmp_path: Path
) -> None:
    recipe = recipe_named("fast").replacing(validation=1000)
    run = train(recipe, data=few_digits, runs=tmp_path / "runs").run
    export_run(run.folder, tmp_path / "bundle", data=few_digits)
    predictor = Predictor(tmp_path / "bundle")
    held_out = datasets.load(few_digits).hold_out(1000).test.images
    sure = (predictor.classify(held_out).max(axis=1) >= predictor.threshold).sum()
    assert sure == pytest.approx(980, abs=2)  # the graph rounds otherwise than the network


def test_digits_that_were_not_held_out_choose_nothing() -> None:
    answers, labels = np.eye(10), np.arange(10, dtype=np.uint8)
    assert choose_threshold(recipe_named("release"), answers, labels) == CHOSEN
    assert choose_threshold(recipe_named("release").replacing(name="my"), answers, labels) == 0.5


def test_the_same_seed_draws_the_same_pictures() -> None:
    once, again, other = (draw_negatives(3, seed) for seed in (0, 0, 1))
    assert list(once) == ["letters", "scribbles", "blank paper", "ruled paper"]
    for kind, pictures in once.items():
        assert all(map(np.array_equal, pictures, again[kind]))
        assert not any(map(np.array_equal, pictures, other[kind]))
        assert all(p.dtype == np.uint8 and p.ndim == 2 for p in pictures)
