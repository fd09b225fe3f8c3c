"""The Open Inference Protocol over HTTP, against its published schema.

`open_inference/dataplane.json` is the protocol's OpenAPI document as MLServer 1.7.1 ships it
(Apache License 2.0, open_inference/LICENSE), unchanged.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jsonschema import Draft4Validator, validators

from mnistnet.bundle.runtime import SIGNATURES
from mnistnet.serving.batching import MAX_QUEUED
from mnistnet.serving.limits import MAX_BODY_BYTES
from mnistnet.serving.protocol import LARGE_BYTES, accepted_encoding, decompress
from mnistnet.serving.tensors import InvalidRequestError

if TYPE_CHECKING:
    from httpx import Response

    from conftest import Client
    from mnistnet.serving.served import Current

PUBLISHED = json.loads((Path(__file__).parent / "open_inference" / "dataplane.json").read_text())
EXTENSIONS = ("infer_stream", "generate", "generate_stream")  # MLServer's own
PATHS = [path for path in PUBLISHED["paths"] if not path.endswith(EXTENSIONS)]
TYPES = Draft4Validator.TYPE_CHECKER.redefine("bytes", lambda _, value: isinstance(value, bytes))
Validator = validators.extend(Draft4Validator, type_checker=TYPES)
HEADER = "Inference-Header-Content-Length"
PLAIN = {"Accept-Encoding": "identity"}


def image_body(images: np.ndarray, **fields: object) -> dict[str, Any]:
    tensor = {"name": "images", "shape": list(images.shape), "datatype": "UINT8"}
    return {"inputs": [tensor | {"data": images.ravel().tolist()}], **fields}


def picture_body(picture: np.ndarray, **fields: object) -> dict[str, Any]:
    tensor = {"name": "picture", "shape": list(picture.shape), "datatype": "UINT8"}
    return {"inputs": [tensor | {"data": picture.tolist()}], **fields}


def check_published(value: object, schema: dict[str, Any]) -> None:
    """Compare a value with a schema of the published document."""
    Validator(schema | {"components": PUBLISHED["components"]}).validate(value)


def infer(client: Client, model: str, body: object, **headers: str) -> Response:
    return client.post(f"/v2/models/{model}/infer", json=body, headers=PLAIN | headers)


def error(response: Response) -> str:
    """Return the message of a refusal, which is one line in the protocol's form."""
    assert set(response.json()) == {"error"}
    check_published(response.json(), {"$ref": "#/components/schemas/MetadataServerErrorResponse"})
    assert response.json()["error"].isprintable()
    return response.json()["error"]


@pytest.mark.parametrize("model", ["digit", "picture"])
@pytest.mark.parametrize("path", PATHS)
def test_each_path_answers_as_the_published_schema_says(
    client: Client, images: np.ndarray, model: str, path: str
) -> None:
    rgba = np.dstack([images[0]] * 3 + [np.full((28, 28), 255, np.uint8)])
    body = image_body(images[:2]) if model == "digit" else picture_body(rgba)
    for version, status in (("v7", 200), ("v6", 404)):
        address = path.format(model_name=model, model_version=version)
        if path.endswith("infer"):
            operation = PUBLISHED["paths"][path]["post"]
            request = operation["requestBody"]["content"]["application/json"]["schema"]
            check_published(body, request)
            response = client.post(address, json=body)
        else:
            operation = PUBLISHED["paths"][path]["get"]
            response = client.get(address)
        if version not in address and status != 200:
            continue
        assert response.status_code == status
        described = operation["responses"].get(str(status), {}).get("content")
        if described:
            check_published(response.json(), described["application/json"]["schema"])
    assert path in client.get("/openapi.json").json()["paths"]


def test_the_server_and_the_models_describe_themselves(client: Client) -> None:
    server = client.get("/v2").json()
    assert client.get("/v2/").json() == server
    assert (server["name"], server["extensions"]) == ("mnistnet", ["binary_tensor_data"])
    assert client.get("/v2/models/digit").json() == {
        "name": "digit",
        "versions": ["v7"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
    }
    picture = client.get("/v2/models/picture/versions/v7").json()
    assert picture["inputs"] == [{"name": "picture", "datatype": "UINT8", "shape": [-1, -1, 4]}]
    names = [output["name"] for output in picture["outputs"]]
    assert names == [name for name, _, _ in SIGNATURES["picture.onnx"][1:]]


def test_a_batch_is_answered_whole_and_an_id_is_echoed(
    client: Client, current: Current, images: np.ndarray
) -> None:
    answer = infer(client, "digit", image_body(images[:3], id="42")).json()
    (output,) = answer.pop("outputs")
    assert answer == {"model_name": "digit", "model_version": "v7", "id": "42"}
    assert (output["shape"], output["datatype"]) == ([3, 10], "FP32")
    expected = current.served.predictor.classify(images[:3])
    np.testing.assert_array_equal(np.float32(output["data"]).reshape(3, 10), expected)
    assert "id" not in infer(client, "digit", image_body(images[:1])).json()


def test_no_images_have_no_probabilities(client: Client, images: np.ndarray) -> None:
    (output,) = infer(client, "digit", image_body(images[:0])).json()["outputs"]
    assert (output["shape"], output["data"]) == ([0, 10], [])


def test_a_picture_is_answered_as_the_predictor_reads_it(
    client: Client, current: Current, images: np.ndarray
) -> None:
    grey = np.pad(255 - images[0], ((9, 20), (30, 7)), constant_values=255)
    rgba = np.dstack([grey] * 3 + [np.full(grey.shape, 255, np.uint8)])
    outputs = infer(client, "picture", picture_body(rgba)).json()["outputs"]
    found = {output["name"]: (output["shape"], output["data"]) for output in outputs}
    expected = current.served.predictor.predict(rgba)
    assert found["probabilities"] == ([10], pytest.approx(expected.probabilities.tolist()))
    assert found["seen"] == ([28, 28], expected.seen.ravel().tolist())
    assert (found["ink"], found["several"]) == (([1], [True]), ([1], [False]))
    asked_for = [{"name": "ink"}, {"name": "probabilities"}]
    blank = picture_body(np.full_like(rgba, 255), outputs=asked_for)
    ink, probabilities = infer(client, "picture", blank).json()["outputs"]
    assert (ink["name"], ink["data"], probabilities["name"]) == ("ink", [False], "probabilities")


@pytest.mark.parametrize(
    ("model", "body", "problem"),
    [
        ("digit", image_body(np.zeros((1, 28, 28), np.uint8), id=1), "id"),
        ("digit", picture_body(np.zeros((9, 9, 4), np.uint8)), "images"),
        ("picture", picture_body(np.zeros((1, 1, 4), np.uint8)), "no digit fits"),
        ("picture", picture_body(np.zeros((0, 0, 4), np.uint8)), "pixels"),
        ("picture", picture_body(np.zeros((8, 900, 4), np.uint8)), "no digit fits"),
    ],
)
def test_a_request_that_the_model_cannot_take_is_refused(
    client: Client, model: str, body: object, problem: str
) -> None:
    response = infer(client, model, body)
    assert response.status_code == 400
    assert problem in error(response)


@pytest.mark.parametrize("path", ["", "/ready", "/infer", "/versions/v7", "/versions/v7/ready"])
def test_an_unknown_model_is_not_found(client: Client, path: str) -> None:
    response = client.request("POST" if "infer" in path else "GET", f"/v2/models/cat{path}")
    assert response.status_code == 404
    assert "digit, picture" in error(response)


@pytest.mark.parametrize("path", ["/v2/models", "/v2/models/digit/config", "/v2/repository/index"])
def test_paths_that_the_service_does_not_have_are_not_found_in_the_protocols_form(
    client: Client, path: str
) -> None:
    response = client.get(path)
    assert response.status_code == 404
    error(response)
    response = client.request("PUT", "/v2/health/live")
    assert (response.status_code, response.headers["Allow"]) == (405, "GET")
    error(response)


def test_a_model_that_is_not_ready_says_so_everywhere(
    client: Client, current: Current, images: np.ndarray
) -> None:
    served = current.served
    current.served = replace(served, ready=False)
    try:
        for path in (
            "/v2/health/ready",
            "/v2/models/digit/ready",
            "/v2/models/digit/versions/v7/ready",
        ):
            response = client.get(path)
            assert (response.status_code, response.json()["ready"]) == (503, False)
        response = infer(client, "digit", image_body(images[:1]))
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert "digit is not ready" in error(response)
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/models/digit").status_code == 200
    finally:
        current.served = served
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/digit/ready").json() == {"name": "digit", "ready": True}


def test_a_request_of_more_images_than_may_wait_is_too_large(client: Client) -> None:
    images = np.zeros((MAX_QUEUED + 1, 28, 28), np.uint8)
    tensor = {"name": "images", "shape": images.shape, "datatype": "UINT8"}
    text = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": images.nbytes}}]})
    content = text.encode() + images.tobytes()
    response = client.post(
        "/v2/models/digit/infer", content=content, headers={HEADER: str(len(text))}
    )
    assert response.status_code == 413
    assert "split" in error(response)


@pytest.mark.parametrize("length", ["", "x", "-5", "5.0", "²", "1e3", "9" * 30, "999999", "+1"])
def test_a_header_length_that_is_none_is_refused(
    client: Client, images: np.ndarray, length: str
) -> None:
    response = infer(client, "digit", image_body(images[:1]), **{HEADER: length.encode("latin-1")})
    assert response.status_code == 400
    assert HEADER in error(response)


def test_two_header_lengths_are_refused(client: Client, images: np.ndarray) -> None:
    content = json.dumps(image_body(images[:1])).encode()
    headers = [(HEADER, str(len(content))), (HEADER, "5")]
    response = client.post("/v2/models/digit/infer", content=content, headers=headers)
    assert response.status_code == 400
    assert HEADER in error(response)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_requests_and_answers_may_be_compressed(
    client: Client, images: np.ndarray, encoding: str, pack: Any
) -> None:
    body = image_body(images[:40])
    content = pack(json.dumps(body).encode())
    headers = {"Content-Encoding": encoding, "Accept-Encoding": f"br;q=1, {encoding};q=0.5"}
    packed = client.post("/v2/models/digit/infer", content=content, headers=headers)
    plain = infer(client, "digit", body)
    assert packed.json() == plain.json()
    assert packed.headers["Content-Encoding"] == encoding
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"])


def test_a_compressed_binary_answer_states_the_length_of_its_json_uncompressed(
    client: Client, images: np.ndarray
) -> None:
    body = image_body(images[:40], parameters={"binary_data_output": True})
    answer = infer(client, "digit", body, **{"Accept-Encoding": "gzip"})
    length = int(answer.headers[HEADER])
    assert json.loads(answer.content[:length])["outputs"][0]["parameters"] == {
        "binary_data_size": len(answer.content) - length
    }


@pytest.mark.parametrize(
    ("content", "encoding", "status"),
    [
        (b"{}", "br", 415),
        (b"{}", "gzip, gzip", 415),
        (b"{}", "gzip", 400),
        (gzip.compress(b"{}", mtime=0)[:-1], "gzip", 400),
        (gzip.compress(b"{}", mtime=0) * 2, "gzip", 400),
        (zlib.compress(b"{}") + b"x", "deflate", 400),
        (zlib.compress(bytes(MAX_BODY_BYTES + 1)), "deflate", 413),
        (gzip.compress(bytes(MAX_BODY_BYTES + 1), mtime=0), "gzip", 413),
    ],
)
def test_a_body_of_a_bad_encoding_is_refused(
    client: Client, content: bytes, encoding: str, status: int
) -> None:
    headers = {"Content-Encoding": encoding}
    response = client.post("/v2/models/digit/infer", content=content, headers=headers)
    assert response.status_code == status
    error(response)


def test_a_body_may_be_as_large_as_the_limit_when_decompressed() -> None:
    assert decompress(zlib.compress(bytes(1000)), "deflate", 1000) == bytes(1000)
    with pytest.raises(InvalidRequestError, match="over 999 bytes"):
        decompress(zlib.compress(bytes(1000)), "deflate", 999)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip, deflate, br", "gzip"),
        ("br, DEFLATE", "deflate"),
        ("gzip;q=0, deflate; q=0.1", "deflate"),
        ("gzip; q=0.000", None),
        ("identity", None),
        ("*", None),
        ("", None),
        (";q=,,", None),
    ],
)
def test_the_first_encoding_that_a_client_accepts_is_used(
    header: str, expected: str | None
) -> None:
    assert accepted_encoding(header) == expected


def test_predictions_are_counted(client: Client, images: np.ndarray) -> None:
    def count(digit: str) -> float:
        line = f'mnistnet_predictions_total{{digit="{digit}"}} '
        return sum(
            float(x.split()[1]) for x in client.get("/metrics").text.splitlines() if line in x
        )

    blank = np.full((28, 28, 4), 255, np.uint8)
    inked = np.dstack([images[0]] * 3 + [blank[..., 0]])
    before = count("7"), count("none")
    for body in (picture_body(inked), picture_body(blank)):
        infer(client, "picture", body)
    infer(client, "digit", image_body(images[[0, 0]]))
    assert (count("7"), count("none")) == (before[0] + 3, before[1] + 1)


def test_the_example_of_the_documentation_is_answered_as_it_says(client: Client) -> None:
    page = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
    found = re.search(r"curl -s localhost:8000(\S+) -d '(.*?)'.*?```json(.*?)```", page, re.DOTALL)
    assert found
    answer = client.post(found[1], content=found[2]).json()
    assert answer | {"model_version": "v3"} == json.loads(found[3])


def test_a_request_that_takes_long_to_parse_is_answered_the_same(
    client: Client, current: Current, images: np.ndarray
) -> None:
    body = image_body(images)
    assert len(json.dumps(body)) > LARGE_BYTES
    (output,) = infer(client, "digit", body).json()["outputs"]
    expected = current.served.predictor.classify(images)
    np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), expected, atol=1e-6)


@pytest.mark.parametrize("change", [lambda packed: packed[:-1], lambda packed: packed + b"x"])
@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_body_that_is_cut_off_or_goes_on_is_not_decompressed(
    encoding: str, pack: Any, change: Any
) -> None:
    with pytest.raises(InvalidRequestError, match=f"not one whole {encoding} stream"):
        decompress(change(pack(b"{}")), encoding)
