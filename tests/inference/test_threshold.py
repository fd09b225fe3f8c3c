"""Pictures that likely show no digit, or are likely misread, are not sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawing import Scene, draw_picture
from numpy.typing import NDArray

from mnistnet import Predictor
from mnistnet import data as datasets
from mnistnet.bundle.export_run import choose_threshold, export_run
from mnistnet.data import DataSet
from mnistnet.inference import Prediction
from mnistnet.metrics.negatives import draw_negatives
from mnistnet.metrics.scores import auroc
from mnistnet.training.recipe import recipe_named
from mnistnet.training.train import train

CHOSEN = 0.943  # of the recipe `release`, by which the bundle that the package ships was trained


@pytest.fixture(scope="module")
def negatives() -> dict[str, list[Prediction]]:
    """What the shipped bundle makes of pictures that show no digit."""
    predictor = Predictor(threshold=CHOSEN)
    pictures = draw_negatives(30, seed=1)
    return {kind: predictor.predict_many(drawn) for kind, drawn in pictures.items()}


@pytest.fixture(scope="module")
def digits() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(2)
    return [draw_picture(digit, Scene(), rng) for digit in range(10) for _ in range(6)]


@pytest.mark.parametrize(
    ("kind", "floor"),
    [("letters", 0.8), ("scribbles", 0.85), ("blank paper", 1.0), ("ruled paper", 0.8)],
)
def test_confidence_separates_digits_from_negatives(
    kind: str, floor: float, negatives: dict[str, list[Prediction]], mnist: DataSet
) -> None:
    """A network that is untrained, or always equally confident, has an AUROC of 0.5."""
    confidences = Predictor().classify(mnist.test.images[:2000]).max(axis=1)
    assert auroc(confidences, [p.confidence for p in negatives[kind]]) >= floor


def test_most_negatives_are_not_sure(negatives: dict[str, list[Prediction]]) -> None:
    assert np.mean([p.sure for predictions in negatives.values() for p in predictions]) < 0.5
    assert not any(p.sure for p in negatives["blank paper"])


def test_clear_digits_are_sure(digits: list[NDArray[np.uint8]], mnist: DataSet) -> None:
    predictor = Predictor(threshold=CHOSEN)
    assert np.mean([p.sure for p in predictor.predict_many(digits)]) > 0.9
    assert (predictor.classify(mnist.test.images).max(axis=1) >= CHOSEN).mean() > 0.96


def test_a_confidence_that_just_reaches_the_threshold_is_sure(
    digits: list[NDArray[np.uint8]],
) -> None:
    confidence = Predictor().predict(digits[0]).confidence
    at = Predictor(threshold=confidence).predict(digits[0])
    above = Predictor(threshold=np.nextafter(confidence, 1)).predict(digits[0])
    assert (at.digit, at.confidence, at.sure) == (above.digit, confidence, True)
    assert not above.sure
    assert not Predictor(threshold=0).predict(np.full((90, 90), 255, np.uint8)).sure  # no ink


def test_the_chosen_threshold_keeps_98_in_100_validation_digits_sure() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.2, 1, 1000)
    probabilities = np.full((1000, 10), ((1 - confidences) / 9)[:, None])
    probabilities[:, 3] = confidences
    recipe = recipe_named("release").replacing(validation=1000)
    threshold = choose_threshold(recipe, probabilities, np.full(1000, 3, np.uint8))
    assert (confidences >= threshold).sum() == 980
    assert threshold == pytest.approx(np.sort(confidences)[20], abs=1e-4)


@pytest.mark.parametrize(
    ("recipe", "changes", "threshold"),
    [
        ("fast", {}, 0.65),
        ("fast", {"name": "my", "rotation_deg": 4}, 0.65),  # of 4.0
        ("fast", {"seed": 1, "threads": 4, "engine": "torch", "precision": "float32"}, 0.65),
        ("fast", {"epochs": 2}, 0.5),
        ("fast", {"noise": 0.5}, 0.5),
        ("release", {"calibration": 0}, 0.5),
    ],
)
def test_without_validation_digits_the_threshold_is_that_of_the_recipes_content(
    recipe: str, changes: dict[str, object], threshold: float
) -> None:
    none = np.empty((0, 10), np.float32), np.empty(0, np.uint8)
    changed = recipe_named(recipe).replacing(**changes)
    assert choose_threshold(changed, *none) == threshold


def test_the_shipped_bundle_has_the_threshold_of_its_recipe() -> None:
    assert Predictor().threshold == CHOSEN


@pytest.mark.slow
@pytest.mark.parametrize("field", ["validation", "calibration"])
def test_a_run_with_held_out_images_is_exported_with_the_threshold_chosen_on_them(
    few_digits: Path, tmp_path: Path, field: str
) -> None:
    recipe = recipe_named("fast").replacing(**{field: 1000})
    run = train(recipe, data=few_digits, runs=tmp_path / "runs").run
    export_run(run.folder, tmp_path / "bundle", data=few_digits)
    predictor = Predictor(tmp_path / "bundle")
    held_out = datasets.load(few_digits).hold_out(1000).test.images
    sure = (predictor.classify(held_out).max(axis=1) >= predictor.threshold).sum()
    assert sure == pytest.approx(980, abs=2)  # the graph rounds otherwise than the network
