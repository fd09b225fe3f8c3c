"""`POST /predict`, and what goes with every path: errors, limits, headers, metrics."""

from __future__ import annotations

import asyncio
import io
import re
from base64 import b64decode
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from test_serve import png

from mnistnet.inference import Predictor
from mnistnet.serving import limits
from mnistnet.serving.batching import Pool
from mnistnet.serving.limits import MAX_BODY_BYTES, MAX_PARTS
from mnistnet.serving.predict import Answer

if TYPE_CHECKING:
    from conftest import Client
    from mnistnet.serving.served import Current


def counted(client: Client, name: str) -> float:
    """Return the sum of a metric over its labels."""
    found = re.findall(rf"^{name}(?:{{.*}})? (.+)$", client.get("/metrics").text, re.MULTILINE)
    return sum(map(float, found))


def test_a_picture_gets_what_the_predictor_makes_of_it(client: Client, images: np.ndarray) -> None:
    for image in images[:10]:
        answer = client.post("/predict", content=png(image)).json()
        expected = Predictor().predict(png(image))
        assert answer["digit"] == expected.digit
        assert answer["sure"] == expected.sure
        assert answer["confidence"] == pytest.approx(expected.confidence, abs=1e-6)
        assert answer["probabilities"] == pytest.approx(expected.probabilities.tolist(), abs=1e-6)
        assert answer["hypothesis"] == expected.hypothesis
        assert answer["seen"] is None


def test_what_the_network_was_shown_comes_on_request(client: Client, images: np.ndarray) -> None:
    answer = client.post("/predict?seen=true", content=png(images[0])).json()
    with Image.open(io.BytesIO(b64decode(answer["seen"]))) as seen:
        assert (np.asarray(seen) == Predictor().predict(png(images[0])).seen).all()


def test_blank_paper_gets_no_digit(client: Client) -> None:
    before = counted(client, "mnistnet_predictions_not_sure_total")
    answer = client.post("/predict", content=png(np.full((50, 50), 255, np.uint8))).json()
    assert answer["digit"] is None
    assert not answer["sure"]
    assert "no ink" in answer["reason"]
    assert counted(client, "mnistnet_predictions_not_sure_total") == before + 1


def test_several_pictures_are_answered_in_their_order(
    client: Client, images: np.ndarray, labels: np.ndarray
) -> None:
    files = [("picture", (f"{i}.png", png(image))) for i, image in enumerate(images[:MAX_PARTS])]
    answer = client.post("/predict", files=files)
    digits = [prediction["digit"] for prediction in answer.json()["predictions"]]
    assert digits == labels[:MAX_PARTS].tolist()
    assert set(answer.json()["predictions"][0]) == set(Answer.model_fields)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"garbage", "is damaged, or not a picture"),
        (b"%PDF-1.7", "is a PDF"),
        (png(np.zeros((2, 2), np.uint8)), "2×2 pixels"),
        (png(np.zeros((5100, 5000), np.uint8)), "over 25 megapixels"),
    ],
)
def test_what_is_no_picture_is_a_400_of_one_line(
    client: Client, content: bytes, problem: str
) -> None:
    answer = client.post("/predict", content=content)
    assert answer.status_code == 400
    assert problem in answer.json()["error"]
    assert answer.json()["error"].isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x--\r\n",
        b"garbage",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nno file\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\ncut o',
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nno picture\r\n--x--',
        b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\nno name\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n\r\n' * 40,
        b"--x\r\n" + b"A: b\r\n" * 5000 + b"\r\n--x--\r\n",
    ],
)
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "multipart/form-data"])
def test_a_broken_multipart_body_is_a_400(client: Client, body: bytes, kind: str) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"].isprintable()


def test_a_body_that_is_too_large_is_refused(client: Client) -> None:
    answer = client.post("/predict", content=bytes(MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert "16 MiB" in answer.json()["error"]

    async def pieces() -> object:
        for _ in range(17):
            yield bytes(2**20)

    assert client.post("/predict", content=pieces()).status_code == 413


def test_a_body_that_does_not_arrive_in_time_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_S", 0.05)

    async def pieces() -> object:
        yield b"a"
        await asyncio.sleep(60)
        yield b"b"

    assert client.post("/predict", content=pieces()).status_code == 408


def test_what_takes_too_long_is_a_503(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_S", 0.0)
    answer = client.post("/predict", content=png(np.zeros((28, 28), np.uint8)))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_memory_for_bodies_is_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_HELD_BYTES", 1000)
    assert client.post("/predict", content=bytes(1001)).status_code == 503
    assert client.post("/predict", content=bytes(1000)).status_code == 400  # nothing is held


def test_more_pictures_than_may_wait_are_refused_at_once(
    client: Client, current: Current, images: np.ndarray
) -> None:
    files = [("picture", (f"{i}.png", png(image))) for i, image in enumerate(images[:3])]
    busy = type(client)(replace(current, pool=Pool(2)), client.portal)
    answer = busy.post("/predict", files=files)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "busy" in answer.json()["error"]


def test_every_error_says_in_json_what_is_wrong(client: Client) -> None:
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("GET", "/predict", 405),
        ("POST", "/predict?seen=perhaps", 422),
        ("GET", "/../../etc/passwd", 404),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"].isprintable()
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_fault_of_the_service_is_a_500_that_tells_no_secrets(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(Predictor, "predict", broken)
    answer = client.post("/predict", content=png(np.zeros((28, 28), np.uint8)))
    assert answer.status_code == 500
    assert "1234" not in answer.text
    assert "1234" in caplog.text


def test_metrics_count_requests_and_predictions(
    client: Client, images: np.ndarray, labels: np.ndarray
) -> None:
    names = (
        f'mnistnet_predictions_total{{digit="{labels[0]}"}}',
        'mnistnet_requests_total{path="/predict",status="200"}',
        'mnistnet_requests_total{path="/predict",status="400"}',
        'mnistnet_request_seconds_count{path="/predict"}',
    )

    def values() -> np.ndarray:
        text = client.get("/metrics").text
        lines = dict(line.rsplit(" ", 1) for line in text.splitlines())
        return np.array([float(lines.get(name, 0)) for name in names])

    before = values()
    client.post("/predict", content=png(images[0]))
    client.post("/predict", content=b"garbage")
    assert (values() - before).tolist() == [1, 1, 1, 2]


def test_the_documentation_lists_every_path_and_loads_nothing_from_elsewhere(
    client: Client,
) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page.text
    assert not re.search(r"<script|src=|https?://", page.text)
