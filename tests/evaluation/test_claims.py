"""What a manifest claims of its network's accuracy, and the same measured again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnistnet import Predictor
from mnistnet import data as datasets
from mnistnet.data import DataSet
from mnistnet.evaluation.claims import Claim, compare_claims

SHIPPED = Predictor()


@pytest.fixture(scope="module")
def dataset(tiny: Path) -> DataSet:
    """A hundred test images, of which the shipped network classifies all correctly."""
    return datasets.load(tiny)


def compare(
    dataset: DataSet, metrics: dict[str, Any], recipe: dict[str, Any] | None = None
) -> tuple[Claim, ...] | None:
    origin = replace(SHIPPED.manifest.origin, data=dataset.sha256, recipe=recipe or {})
    manifest = replace(SHIPPED.manifest, origin=origin, metrics=metrics)
    probabilities = SHIPPED.classify(dataset.test.images)
    return compare_claims(manifest, dataset, probabilities, SHIPPED.classify)


@pytest.mark.parametrize(
    ("name", "value", "claimed", "measured"),
    [
        ("correct", 99, 0.99, 1),
        ("correct", 10**17, 1e15, 1),
        ("accuracy", 0.99, 0.99, 1),
        ("accuracy", "100 %", math.nan, 1),
        ("accuracy", True, math.nan, 1),
        ("accuracy_low", 1, 1, 0.9630),
        ("n", 101, 101, 100),
    ],
)
def test_a_figure_that_differs_is_not_within_the_limit(
    dataset: DataSet, name: str, value: object, claimed: float, measured: float
) -> None:
    claims = compare(dataset, {name: value})
    assert claims is not None
    (claim,) = claims
    assert (claim.name, claim.is_within(0.0005)) == (name, False)
    assert claim.claimed == pytest.approx(claimed, nan_ok=True)
    assert claim.measured == pytest.approx(measured, abs=1e-4)


def test_the_shipped_bundles_figures_are_true(mnist: DataSet) -> None:
    manifest, images = SHIPPED.manifest, mnist.test.images
    claims = compare_claims(manifest, mnist, SHIPPED.classify(images), SHIPPED.classify)
    assert claims is not None
    assert {claim.name for claim in claims} == {*manifest.metrics} - {"judged_on"}
    assert all(claim.is_within(0.0001) for claim in claims)


def test_figures_of_held_out_images_are_measured_on_these(dataset: DataSet) -> None:
    metrics = {"judged_on": "validation", "n": 60, "accuracy": 0.5}
    claims = compare(dataset, metrics, {"validation": 60})
    assert claims is not None
    assert [claim.name for claim in claims if claim.is_within(0.0005)] == ["n"]


@pytest.mark.parametrize("n", [0, -1, 600, 10**9, "60", True, None, [1]])
def test_held_out_images_that_there_cannot_be_are_a_false_claim(dataset: DataSet, n: Any) -> None:
    claims = compare(dataset, {"judged_on": "validation"}, {"validation": n})
    assert claims is not None
    assert not all(claim.is_within(0.0005) for claim in claims)


def test_figures_of_other_data_are_not_compared(dataset: DataSet) -> None:
    probabilities = SHIPPED.classify(dataset.test.images)
    assert compare_claims(SHIPPED.manifest, dataset, probabilities, SHIPPED.classify) is None
