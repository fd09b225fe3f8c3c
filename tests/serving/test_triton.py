"""A bundle becomes a model repository that Triton and KServe load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from releases import Run, sha256_of
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup
from tritonclient.utils import triton_to_np_dtype

from mnistnet.bundle.verify import SEEN_TOLERANCE, TOLERANCE, largest_difference
from mnistnet.inference.predictor import DEFAULT_BUNDLE, Predictor

FILES = {f"{m}/{f}" for m in ("digit", "picture") for f in ("config.pbtxt", "1/model.onnx")}


@pytest.fixture
def repository(tmp_path: Path, run: Run) -> Path:
    """The shipped bundle's."""
    code, out, _ = run("export", DEFAULT_BUNDLE, "--format", "triton", "-o", tmp_path / "models")
    assert code == 0
    assert out == f"Model repository: {tmp_path / 'models'} (digit and picture, verified)\n"
    return tmp_path / "models"


def _files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _config(repository: Path, model: str) -> ModelConfig:
    text = (repository / model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, ModelConfig())


def _run(repository: Path, config: ModelConfig, array: np.ndarray) -> dict[str, Any]:
    """Run a graph as its configuration declares it, as Triton's ONNX Runtime backend does."""
    batched = config.max_batch_size > 0
    (declared,) = config.input
    shape = array.shape[1:] if batched else array.shape
    assert len(shape) == len(declared.dims)
    assert all(d in (-1, n) for d, n in zip(declared.dims, shape, strict=True))
    assert array.dtype == triton_to_np_dtype(DataType.Name(declared.data_type)[5:])
    session = onnxruntime.InferenceSession(repository / config.name / "1" / "model.onnx")
    names = [output.name for output in config.output]
    outputs = dict(zip(names, session.run(names, {declared.name: array}), strict=True))
    for output in config.output:
        found = outputs[output.name]
        rows = (len(array),) if batched else ()
        # A scalar has the shape that is declared, which must then be [ 1 ].
        assert (found.shape or (1,)) == (*rows, *output.dims)
        assert found.dtype == triton_to_np_dtype(DataType.Name(output.data_type)[5:])
    return outputs


def test_both_graphs_run_with_the_inputs_and_outputs_that_are_declared(
    repository: Path, images: np.ndarray
) -> None:
    assert set(_files(repository)) == FILES
    digit, picture = (_config(repository, model) for model in ("digit", "picture"))
    assert (digit.name, picture.name) == ("digit", "picture")
    assert digit.backend == picture.backend == "onnxruntime"

    predictor = Predictor()
    found = _run(repository, digit, images)
    assert largest_difference(found["probabilities"], predictor.classify(images)) <= TOLERANCE

    rgba = np.zeros((40, 30, 4), np.uint8)
    rgba[6:34, 1:29] = images[0][..., None]
    found = _run(repository, picture, rgba)
    expected = predictor.predict(rgba)
    assert found["probabilities"].argmax() == expected.digit
    assert largest_difference(found["seen"], expected.seen) <= SEEN_TOLERANCE
    assert (bool(found["ink"]), bool(found["several"])) == (True, False)


def test_images_are_batched_and_pictures_are_not(repository: Path) -> None:
    digit, picture = (_config(repository, model) for model in ("digit", "picture"))
    assert digit.max_batch_size == 128
    assert digit.dynamic_batching.max_queue_delay_microseconds == 2000
    assert picture.max_batch_size == 0
    assert not picture.HasField("dynamic_batching")
    for config in (digit, picture):
        assert [group.kind for group in config.instance_group] == [ModelInstanceGroup.KIND_CPU]


def test_clients_can_ask_which_bundle_it_is_and_for_its_threshold(repository: Path) -> None:
    for model in ("digit", "picture"):
        parameters = _config(repository, model).parameters
        assert float(parameters["threshold"].string_value) == Predictor().threshold
        assert parameters["bundle_sha256"].string_value == sha256_of(DEFAULT_BUNDLE)


def test_a_repository_is_replaced_and_what_is_none_is_not(repository: Path, run: Run) -> None:
    before = _files(repository)
    export = ("export", DEFAULT_BUNDLE, "--format", "triton", "-o", repository)
    (repository / "digit" / "config.pbtxt").write_text("old", encoding="utf-8")
    assert run(*export)[0] == 0
    assert _files(repository) == before

    (repository / "picture" / "2").mkdir()
    code, _, err = run(*export)
    assert code == 2
    assert "holds picture/2, so it is not replaced" in err
    (repository / "picture" / "2").rmdir()
    (repository / "another-model").mkdir()
    code, _, err = run(*export)
    assert code == 2
    assert "holds another-model, so it is not replaced" in err
    assert _files(repository) == before


def test_only_a_bundle_that_is_whole_is_exported(tmp_path: Path, bundle: Path, run: Run) -> None:
    out = tmp_path / "models"
    (tmp_path / "run").mkdir()
    code, _, err = run("export", tmp_path / "run", "--format", "triton", "-o", out)
    assert code == 2
    assert "is not a bundle" in err
    (bundle / "digit.onnx").write_bytes(b"digits")
    code, _, err = run("export", bundle, "--format", "triton", "-o", out)
    assert code == 2
    assert "digit.onnx: is smaller" in err
    code, _, err = run("export", bundle, "--format", "triton", "-o", out, "--data", tmp_path)
    assert code == 2
    assert "--data: goes with --format bundle" in err
    assert not out.exists()
