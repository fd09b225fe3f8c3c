"""`Predictor`: pictures of every kind, one or many, from one thread or several."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import numpy as np
import pytest
from drawing import Scene, draw_picture

from mnistnet import Predictor
from mnistnet.bundle.runtime import Graph
from mnistnet.errors import BundleError, PictureError
from mnistnet.files import sha256
from mnistnet.inference import predictor as predicting
from mnistnet.inference.predictor import DEFAULT_BUNDLE

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


def test_without_ink_there_is_no_digit_but_a_reason(predictor: Predictor) -> None:
    for level in (0, 127, 255):
        prediction = predictor.predict(np.full((100, 80), level, np.uint8))
        assert (prediction.digit, prediction.confidence) == (None, 0)
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


def test_a_graph_that_the_runtime_cannot_load_is_one_line(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, bundle)
    content = b"no graph"
    (bundle / "picture.onnx").write_bytes(content)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"]["picture.onnx"] = {"size_bytes": len(content), "sha256": sha256(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        BundleError, match=r"picture\.onnx: cannot be loaded with ONNX Runtime"
    ) as e:
        Predictor(bundle).predict(np.zeros((30, 30), np.uint8))
    assert str(e.value).isprintable()


def test_a_bundle_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        Predictor(tmp_path)
