"""`Predictor`: pictures of every kind, one or many, from one thread or several."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from drawing import Scene, draw_picture
from PIL import Image

from mnistnet import Predictor
from mnistnet.bundle.runtime import Graph
from mnistnet.data import DataSet
from mnistnet.errors import PictureError
from mnistnet.inference import Prediction
from mnistnet.inference import predictor as predicting


def _same(one: Prediction, other: Prediction) -> bool:
    return (
        one.digit == other.digit
        and np.array_equal(one.probabilities, other.probabilities)
        and np.array_equal(one.seen, other.seen)
    )


def test_a_path_bytes_an_image_and_an_array_get_the_same_prediction(
    predictor: Predictor, four: Image.Image, files: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "four.png"
    path.write_bytes(files["PNG"])
    pictures = [path, str(path), files["PNG"], four, np.asarray(four), four.convert("RGB")]
    first, *rest = predictor.predict_many(pictures)
    assert first.digit == 4
    assert all(_same(first, other) for other in rest)


def test_a_prediction_holds_probabilities_a_second_guess_and_what_was_seen(
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


def test_classify_predicts_images_in_batches_as_it_does_one_by_one(
    predictor: Predictor, mnist: DataSet
) -> None:
    images = mnist.test.images[:300]
    together = predictor.classify(images)
    alone = np.concatenate([predictor.classify(image[None]) for image in images])
    assert (together.shape, together.dtype) == ((300, 10), np.float32)
    assert np.abs(together - alone).max() < 1e-6
    assert predictor.classify(images[:0]).shape == (0, 10)


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 28, 28), np.float32), np.zeros((28, 28), np.uint8), np.zeros((2, 8, 8), "u1")],
    ids=["fractions", "one image", "8×8"],
)
def test_classify_refuses_images_of_another_type_or_shape(
    predictor: Predictor, images: np.ndarray
) -> None:
    with pytest.raises(PictureError, match=r"give uint8 \(N, 28, 28\)"):
        predictor.classify(images)


def test_threads_that_share_a_predictor_load_it_once_and_predict_what_one_thread_does(
    mnist: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    pictures = [
        draw_picture(digit, Scene(height=size, width=size, digit_height=size * 2 // 3), rng)
        for digit, size in enumerate((40, 90, 200, 40, 90))
    ]
    images = mnist.test.images[:200]
    alone = Predictor()
    expected, expected_rows = alone.predict_many(pictures), alone.classify(images)
    loaded = []
    monkeypatch.setattr(
        predicting, "Graph", lambda *a, **k: (loaded.append(a[1]), Graph(*a, **k))[1]
    )
    shared, together = Predictor(), Barrier(8)  # not used yet: the threads race to load it

    def predict(_: int) -> tuple[list[Prediction], np.ndarray]:
        together.wait()
        return shared.predict_many(pictures), shared.classify(images)

    with ThreadPoolExecutor(8) as pool:
        for predictions, rows in pool.map(predict, range(8)):
            assert all(map(_same, predictions, expected))
            assert np.array_equal(rows, expected_rows)
    assert sorted(loaded) == ["digit.onnx", "picture.onnx"]


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ((255, 255, 255), None),  # a transparent canvas
        ((255, 236, 120), None),
        ((0, 0, 0), None),
        ((40, 60, 200), None),
        ((200, 50, 50), (50, 126, 50)),
        ((30, 110, 230), (198, 60, 60)),
        ((255, 150, 180), (150, 220, 170)),
        ((255, 240, 60), (255, 255, 255)),
    ],
)
def test_ink_is_read_on_a_transparent_canvas_and_told_by_colour_from_paper_of_its_luma(
    predictor: Predictor,
    four: Image.Image,
    ink: tuple[int, int, int],
    paper: tuple[int, int, int] | None,
) -> None:
    picture, amount = Image.new("RGB", four.size, ink), four.point(lambda grey: max(0, 230 - grey))
    if paper is None:
        picture.putalpha(amount)
    else:
        picture = Image.composite(picture, Image.new("RGB", four.size, paper), amount)
    prediction = predictor.predict(picture)
    assert (prediction.digit, prediction.sure) == (4, True)


def test_two_digits_are_not_sure_and_the_reason_says_so(
    predictor: Predictor, four: Image.Image
) -> None:
    two = Image.new("L", (400, 280), 220)
    two.paste(four, (0, 0))
    two.paste(four, (200, 0))
    prediction = predictor.predict(two)
    assert (prediction.sure, prediction.reason) == (False, predicting.SEVERAL)
    assert predictor.predict(four).reason is None
