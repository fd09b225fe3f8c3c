"""Drawn digits and outliers are mixed in as a recipe says; without them nothing is copied."""

from __future__ import annotations

import numpy as np
import pytest

from mnistnet.data import DataSet, Split
from mnistnet.data.handwriting import draw_digits
from mnistnet.data.outliers import draw_outliers
from mnistnet.errors import RecipeError
from mnistnet.metrics.scores import expected_calibration_error
from mnistnet.training.engine import Engine
from mnistnet.training.examples import calibration_split, count_examples, examples_of
from mnistnet.training.fit import first_batch, fit
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import Recipe

MIXED = Recipe(handwriting=0.5, outliers=0.25, label_smoothing=0.1, batch_size=32, seed=5)


def _few(mnist: DataSet, n: int = 200) -> Split:
    return Split(mnist.train.images[:n], mnist.train.labels[:n])


def test_drawn_pictures_follow_the_training_images_and_outliers_have_flat_targets(
    mnist: DataSet,
) -> None:
    few = _few(mnist)
    examples = examples_of(MIXED, few)
    drawn = draw_digits(100, seed=5)
    assert np.array_equal(examples.images[:200], few.images)
    assert np.array_equal(examples.images[200:300], drawn.images)
    assert np.array_equal(examples.images[300:], draw_outliers(50, seed=5))
    labels = np.concatenate([few.labels, drawn.labels])
    assert np.array_equal(examples.targets[:300].argmax(1), labels)
    np.testing.assert_allclose(examples.targets[:300].max(1), 0.91, rtol=1e-6)
    assert (examples.targets[300:] == np.float32(0.1)).all()
    assert not np.array_equal(examples_of(MIXED.replacing(seed=6), few).images, examples.images)


def test_without_drawn_pictures_the_images_are_not_copied(mnist: DataSet) -> None:
    few = _few(mnist)
    assert np.shares_memory(examples_of(Recipe(), few).images, few.images)


def test_a_network_learns_to_be_unsure_of_outliers(mnist: DataSet) -> None:
    few, unseen = _few(mnist, 640), draw_outliers(300, seed=9)
    recipe = Recipe(epochs=3, batch_size=32, threads=1)
    engine = engine_for(recipe)
    confidence = []
    for outliers in (0.0, 0.5):
        state = fit(recipe.replacing(outliers=outliers), few, engine)
        confidence.append(engine.probabilities(state.weights, unseen).max(1).mean())
    assert confidence[1] < confidence[0] - 0.2


def test_the_accuracy_while_training_is_that_on_digits(mnist: DataSet) -> None:
    """Half of the images are outliers: counted as misread, they would halve it."""
    recipe, accuracies = Recipe(epochs=3, batch_size=32, outliers=1.0, threads=1), []
    fit(
        recipe,
        _few(mnist, 640),
        engine_for(recipe),
        on_progress=lambda progress: accuracies.append(progress.accuracy),
    )
    assert accuracies[-1] > 0.55


def test_the_first_batch_says_what_is_no_digit(mnist: DataSet, engine: Engine) -> None:
    images, captions = first_batch(MIXED.replacing(batch_size=350), _few(mnist), engine)
    assert images.shape == (350, 28, 28)
    assert captions.count("no digit") == 50
    assert set(captions) == {"no digit", *map(str, range(10))}


def test_images_to_calibrate_on_are_not_trained_on_and_make_confidence_true(
    mnist: DataSet,
) -> None:
    """Smoothed labels make a network too modest; its held-out images say by how much."""
    few = _few(mnist, 3000)
    recipe = Recipe(label_smoothing=0.3, batch_size=64, threads=1)
    engine, errors = engine_for(recipe), []
    assert count_examples(recipe.replacing(calibration=600, outliers=0.5), 3000) == 2400 + 1200
    assert len(examples_of(recipe.replacing(calibration=600), few)) == 2400
    assert np.array_equal(
        calibration_split(recipe.replacing(calibration=600), few).labels, few.labels[2400:]
    )
    for calibration in (0, 600):
        weights = fit(recipe.replacing(calibration=calibration), few, engine).weights
        probabilities = engine.probabilities(weights, mnist.test.images)
        errors.append(expected_calibration_error(probabilities, mnist.test.labels))
        assert (probabilities.argmax(1) == mnist.test.labels).mean() > 0.9
    assert errors[0] > 0.15
    assert errors[1] < 0.03


def test_holding_out_every_image_is_refused(mnist: DataSet) -> None:
    recipe = Recipe(calibration=200)
    with pytest.raises(RecipeError, match=r"calibration is 200.*only 200"):
        fit(recipe, _few(mnist), engine_for(recipe))
