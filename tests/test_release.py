"""The model that the package ships with: whole, of a known recipe and commit, and good."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawing import draw_suite, rgba
from sklearn.datasets import load_digits

from mnistnet import Predictor
from mnistnet.data import DataSet
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.model.network import MnistNet, normalise
from mnistnet.picture import prepare
from mnistnet.training.recipe import RELEASE, recipe_from

COMMIT = "4562feda69d9a595991317fff1b97373b958548c"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor()


def test_the_model_comes_from_the_release_recipe_at_a_known_commit_and_is_accurate(
    predictor: Predictor, mnist: DataSet
) -> None:
    origin = predictor.manifest.origin
    assert recipe_from(origin.recipe, where="manifest.json") == RELEASE
    assert origin.source == {"commit": COMMIT, "dirty": False}
    assert origin.data == mnist.sha256
    assert predictor.manifest.metrics.correct >= 9940  # counted in tests/bundle


def test_the_preparation_costs_mnists_images_half_a_point_at_most(
    predictor: Predictor, mnist: DataSet
) -> None:
    images, labels = mnist.train.images[-500:], mnist.train.labels[-500:]
    direct = predictor.classify(images).argmax(1)
    prepared = np.array([p.digit for p in predictor.predict_many(images)])
    assert (prepared == labels).mean() >= (direct == labels).mean() - 0.005


def test_300_digits_of_other_writers_on_8_by_8_pixels_are_read(predictor: Predictor) -> None:
    digits = load_digits()
    pictures = (digits.images[::6] * (255 / 16)).round().astype(np.uint8)
    read = np.array([p.digit for p in predictor.predict_many(pictures)])
    assert (read == digits.target[::6]).mean() >= 0.96


def test_drawn_digits_are_read_in_every_kind_of_scene(predictor: Predictor) -> None:
    correct: dict[str, list[bool]] = {}
    for picture, digit, scene in draw_suite(seed=0):
        correct.setdefault(scene, []).append(predictor.predict(picture).digit == digit)
    for scene, results in correct.items():
        assert np.mean(results) >= 0.8, scene  # of 10 pictures
    assert np.mean(list(correct.values())) >= 0.95  # of 270


SHAPES = [(8, 8), (28, 28), (100, 37), (16, 200), (280, 280), (1000, 750)]


@pytest.mark.parametrize("shape", [*SHAPES, pytest.param((2000, 2000), marks=pytest.mark.slow)])
def test_the_graph_prepares_a_picture_of_any_size_as_pytorch_does(
    predictor: Predictor, shape: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    picture = random.normal(220, 5, shape).clip(0, 255).astype(np.uint8)
    height, width = shape
    picture[height // 4 : 3 * height // 4, width // 3 : max(width // 3 + 2, width // 2)] = 30
    expected = MnistNet.load(DEFAULT_BUNDLE)
    with torch.inference_mode():
        seen, ink, *_ = prepare(rgba(picture), lambda x: expected(normalise(x)).exp())
        probabilities = expected(normalise(seen.unsqueeze(0))).exp()[0].numpy()
    prediction = predictor.predict(picture)
    assert bool(ink) is (prediction.digit is not None) is True
    assert np.abs(seen.numpy().astype(int) - prediction.seen).max() <= 1
    np.testing.assert_allclose(prediction.probabilities, probabilities, atol=0.02)
