"""`Predictor` reads whatever holds a picture, one or many, from one thread or from many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import numpy as np
import pytest
from drawing import Scene, draw_picture

from mnistnet import Predictor
from mnistnet.errors import BundleError, PictureError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from mnistnet.data import DataSet
    from mnistnet.inference import Prediction


def _same(one: Prediction, other: Prediction) -> bool:
    return (
        one.digit == other.digit
        and np.array_equal(one.probabilities, other.probabilities)
        and np.array_equal(one.seen, other.seen)
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_the_digit_is_read_from_every_format(
    kind: str, predictor: Predictor, files: dict[str, bytes]
) -> None:
    assert predictor.predict(files[kind]).digit == 4


def test_a_path_bytes_an_image_and_an_array_give_one_answer(
    predictor: Predictor, four: Image.Image, files: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "four.png"
    path.write_bytes(files["PNG"])
    pictures = [path, str(path), files["PNG"], four, np.asarray(four), four.convert("RGB")]
    first, *rest = predictor.predict_many(pictures)
    assert first.digit == 4
    assert all(_same(first, other) for other in rest)


def test_a_prediction_says_how_sure_it_is_and_what_was_seen(
    predictor: Predictor, four: Image.Image
) -> None:
    prediction = predictor.predict(four)
    assert prediction.probabilities.shape == (10,)
    assert prediction.probabilities.dtype == np.float32
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert prediction.confidence == prediction.probabilities[4] == prediction.probabilities.max()
    second, probability = prediction.second_guess()
    assert probability == np.sort(prediction.probabilities)[-2] == prediction.probabilities[second]
    assert (prediction.seen.shape, prediction.seen.dtype) == ((28, 28), np.uint8)
    assert prediction.seen.max() > 200
    assert prediction.reason is None


def test_bright_ink_on_dark_is_read_as_dark_ink_on_bright_is(
    predictor: Predictor, four: Image.Image
) -> None:
    assert predictor.predict(255 - np.asarray(four)).digit == 4


@pytest.mark.parametrize("level", [0, 127, 255])
def test_without_ink_there_is_no_digit_but_a_reason(predictor: Predictor, level: int) -> None:
    prediction = predictor.predict(np.full((100, 80), level, np.uint8))
    assert prediction.digit is None
    assert prediction.confidence == 0
    assert prediction.reason == "there is no ink in the picture"


def test_many_pictures_stop_at_the_first_that_is_none(
    predictor: Predictor, four: Image.Image
) -> None:
    assert predictor.predict_many([]) == []
    with pytest.raises(PictureError):
        predictor.predict_many([four, b"nonsense"])


def test_classify_gives_each_image_what_it_gets_alone_across_batches(
    predictor: Predictor, mnist: DataSet
) -> None:
    images = mnist.test.images[:300]
    together = predictor.classify(images)
    alone = np.concatenate([predictor.classify(image[None]) for image in images])
    assert (together.shape, together.dtype) == ((300, 10), np.float32)
    assert np.abs(together - alone).max() < 1e-6
    assert (together.argmax(1) == mnist.test.labels[:300]).mean() > 0.97
    assert predictor.classify(images[:0]).shape == (0, 10)


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 28, 28), np.float32), np.zeros((28, 28), np.uint8), np.zeros((2, 8, 8), "u1")],
    ids=["fractions", "one image", "8×8"],
)
def test_classify_refuses_what_is_not_as_mnists_images_are(
    predictor: Predictor, images: np.ndarray
) -> None:
    with pytest.raises(PictureError, match=r"give uint8 \(N, 28, 28\)"):
        predictor.classify(images)


def test_many_threads_get_the_answers_that_one_gets(mnist: DataSet) -> None:
    rng = np.random.default_rng(0)
    pictures = [
        draw_picture(digit, Scene(height=size, width=size, digit_height=size * 2 // 3), rng)
        for digit in range(10)
        for size in (40, 90, 200)
    ]
    images = mnist.test.images[:200]
    alone = Predictor()
    expected, expected_rows = alone.predict_many(pictures), alone.classify(images)
    shared, together = Predictor(), Barrier(8)  # not used yet: the threads race to load it

    def read(_: int) -> tuple[list[Prediction], np.ndarray]:
        together.wait()
        return shared.predict_many(pictures), shared.classify(images)

    with ThreadPoolExecutor(8) as pool:
        for predictions, rows in pool.map(read, range(8)):
            assert all(map(_same, predictions, expected))
            assert np.array_equal(rows, expected_rows)


def test_a_bundle_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        Predictor(tmp_path)
