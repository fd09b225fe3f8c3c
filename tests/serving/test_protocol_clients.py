"""The service as a process, asked by the protocol's own clients over the network."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from test_serve import serving
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from mnistnet import Predictor

if TYPE_CHECKING:
    from collections.abc import Iterator

KSERVE = "kserve==0.21.0"
CLIENTS, ROUNDS = 16, 12


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The host and port of a service in another process."""
    with serving() as (_, address):
        yield address.removeprefix("http://")


@pytest.fixture(scope="module")
def triton(server: str) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server, concurrency=CLIENTS) as client:
        yield client


@pytest.fixture(scope="module")
def expected(images: np.ndarray) -> np.ndarray:
    """The probabilities of the images, (200, 10)."""
    return Predictor().classify(images)


def as_input(array: np.ndarray, name: str = "images", *, binary: bool = True) -> InferInput:
    tensor = InferInput(name, list(array.shape), "UINT8")
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def test_triton_s_client_finds_the_models(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    for model in ("digit", "picture"):
        (version,) = triton.get_model_metadata(model)["versions"]
        assert triton.is_model_ready(model)
        assert triton.is_model_ready(model, version)
        assert not triton.is_model_ready(model, "9")
    assert not triton.is_model_ready("cat")
    with pytest.raises(InferenceServerException, match="there are digit, picture"):
        triton.get_model_metadata("cat")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("outputs", [None, True, False])
def test_triton_s_client_gets_the_probabilities(
    triton: InferenceServerClient,
    images: np.ndarray,
    expected: np.ndarray,
    binary: bool,
    packed: str | None,
    outputs: bool | None,
) -> None:
    result = triton.infer(
        "digit",
        [as_input(images[:50], binary=binary)],
        outputs=None if outputs is None else [InferRequestedOutput("probabilities", outputs)],
        request_id="a-1",
        request_compression_algorithm=packed,
        response_compression_algorithm=packed,
        priority=1,
        timeout=10**6,
    )
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected[:50], atol=1e-5)
    assert result.get_response()["id"] == "a-1"


def test_triton_s_client_gets_all_that_is_known_of_a_picture(
    triton: InferenceServerClient, images: np.ndarray
) -> None:
    grey = np.kron(255 - images[0], np.ones((3, 3), np.uint8))
    picture = np.dstack([grey] * 3 + [np.full(grey.shape, 255, np.uint8)])
    result = triton.infer("picture", [as_input(picture, "picture")])
    prediction = Predictor().predict(picture)
    np.testing.assert_allclose(
        result.as_numpy("probabilities"), prediction.probabilities, atol=1e-6
    )
    np.testing.assert_array_equal(result.as_numpy("seen"), prediction.seen)
    assert result.as_numpy("ink").tolist() == [True]
    assert result.as_numpy("several").tolist() == [False]
    assert result.as_numpy("hypothesis").dtype == np.int64


@pytest.mark.parametrize("bad", ["classification", "shared memory", "output", "input", "type"])
def test_triton_s_client_is_told_what_is_refused(
    triton: InferenceServerClient, images: np.ndarray, bad: str
) -> None:
    tensor, output = as_input(images[:1]), InferRequestedOutput("probabilities")
    if bad == "classification":
        output = InferRequestedOutput("probabilities", class_count=3)
    elif bad == "shared memory":
        output.set_shared_memory("region", 40)
    elif bad == "output":
        output = InferRequestedOutput("logits")
    elif bad == "input":
        tensor = as_input(images[:1], "pictures")
    else:
        tensor = InferInput("images", [1, 28, 28], "FP32")
        tensor.set_data_from_numpy(images[:1].astype(np.float32))
    with pytest.raises(InferenceServerException) as refused:
        triton.infer("digit", [tensor], outputs=[output])
    assert refused.value.status() == "400"


def test_clients_that_ask_together_each_get_their_own_answer(
    server: str, images: np.ndarray, expected: np.ndarray
) -> None:
    """Every third request lies about its size: no byte of a neighbour may make up for it."""

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection(server, timeout=60)
        for i in range(ROUNDS):
            first, n = (client * ROUNDS + i) % 190, 1 + i % 3
            mine, lie = images[first : first + n], i % 3 == 2
            tensor = {"name": "images", "shape": [n + lie, 28, 28], "datatype": "UINT8"}
            tensor["parameters"] = {"binary_data_size": mine.nbytes + lie * 784}
            text = json.dumps({"id": f"{client}-{i}", "inputs": [tensor]}).encode()
            headers = {"Inference-Header-Content-Length": str(len(text))}
            connection.request("POST", "/v2/models/digit/infer", text + mine.tobytes(), headers)
            response = connection.getresponse()
            answer = json.load(response)
            if lie:
                assert (response.status, set(answer)) == (400, {"error"})
                continue
            assert (response.status, answer["id"]) == (200, f"{client}-{i}")
            (output,) = answer["outputs"]
            found = np.reshape(output["data"], output["shape"])
            np.testing.assert_allclose(found, expected[first : first + n], atol=1e-5)
        connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(ask, range(CLIENTS)))


@pytest.mark.slow  # fills an environment with KServe, by pip
def test_kserve_s_client_gets_the_same_answers(
    server: str, images: np.ndarray, expected: np.ndarray, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "--quiet", "install", KSERVE], check=True)
    np.savez(tmp_path / "cases.npz", images=images[:20], expected=expected[:20])
    program = Path(__file__).parent / "kserve_client.py"
    subprocess.run([python, program, f"http://{server}", tmp_path / "cases.npz"], check=True)
