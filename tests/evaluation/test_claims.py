"""What a manifest claims of its network's accuracy, and the same measured again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from releases import measured_on, seal

from mnistnet import Predictor
from mnistnet import data as datasets
from mnistnet.bundle.documents import card
from mnistnet.data import DataSet
from mnistnet.evaluation.claims import Claims, compare_claims
from mnistnet.inference.predictor import DEFAULT_BUNDLE


@pytest.fixture(scope="module")
def dataset(tiny: Path) -> DataSet:
    """A hundred test images, of which the shipped network classifies all correctly."""
    return datasets.load(tiny)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The shipped network in a bundle of the hundred images."""
    folder = tmp_path_factory.mktemp("own") / "bundle"
    return measured_on(shutil.copytree(DEFAULT_BUNDLE, folder), tiny)


def compare(bundle: Path, dataset: DataSet) -> Claims:
    reader = Predictor(bundle)
    probabilities = reader.classify(dataset.test.images)
    return compare_claims(bundle, reader.manifest, dataset, probabilities, reader.classify)


def claiming(own: Path, folder: Path, *, validation: Any = 0, **figures: Any) -> Path:
    """Copy the bundle, with other figures in its manifest, and the card that follows from it."""
    bundle = shutil.copytree(own, folder / "bundle")
    manifest = Predictor(own).manifest
    assert manifest.metrics is not None
    origin = replace(manifest.origin, recipe={"validation": validation})
    changed = replace(manifest, origin=origin, metrics=replace(manifest.metrics, **figures))
    (bundle / "README.md").write_bytes(card(changed))
    (bundle / "manifest.json").write_bytes(changed.to_bytes())
    return seal(bundle)


@pytest.mark.parametrize(
    ("name", "value", "claimed", "measured"),
    [
        ("correct", 99, 0.99, 1),
        ("correct", 10**17, 1e15, 1),
        ("accuracy", 0.99, 0.99, 1),
        ("accuracy_low", 1, 1, 0.9630),
        ("n", 101, 101, 100),
    ],
)
def test_a_figure_that_differs_is_not_within_the_limit(
    own: Path,
    dataset: DataSet,
    tmp_path: Path,
    name: str,
    value: Any,
    claimed: float,
    measured: float,
) -> None:
    (claim,) = compare(claiming(own, tmp_path, **{name: value}), dataset).false(0.0002)
    assert claim.name == name
    assert claim.claimed == pytest.approx(claimed)
    assert claim.measured == pytest.approx(measured, abs=1e-4)


def test_the_shipped_bundles_figures_are_true(mnist: DataSet) -> None:
    claims = compare(DEFAULT_BUNDLE, mnist)
    metrics = Predictor().manifest.metrics
    assert {claim.name for claim in claims.figures} == {*vars(metrics)} - {"judged_on"}
    assert claims.false(0.0001) == []


def test_figures_of_held_out_images_are_measured_on_these(
    own: Path, dataset: DataSet, tmp_path: Path
) -> None:
    bundle = claiming(own, tmp_path, validation=60, judged_on="validation", n=60, accuracy=0.5)
    wrong = [claim.name for claim in compare(bundle, dataset).false(0.0002)]
    assert "accuracy" in wrong
    assert "n" not in wrong


@pytest.mark.parametrize("n", [0, -1, 600, 10**9, "60", True, None, [1]])
def test_held_out_images_that_there_cannot_be_are_a_false_claim(
    own: Path, dataset: DataSet, tmp_path: Path, n: Any
) -> None:
    claims = compare(claiming(own, tmp_path, validation=n, judged_on="validation"), dataset)
    assert "cannot be held out" in claims.problem


def test_figures_of_a_split_that_there_is_not_are_a_problem(
    own: Path, dataset: DataSet, tmp_path: Path
) -> None:
    bundle = claiming(own, tmp_path, judged_on="my own")
    assert "no figures of a known split" in compare(bundle, dataset).problem


def test_figures_of_other_data_are_a_problem(dataset: DataSet) -> None:
    assert "are of other data" in compare(DEFAULT_BUNDLE, dataset).problem
