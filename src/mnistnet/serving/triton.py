"""`mnistnet export BUNDLE --format triton -o DIR`: a model repository for Triton, and for KServe.

    write_repository(Path("bundle"), Path("models"))     # then: tritonserver --model-repository=…

Two models, `digit` and `picture`, each with a `config.pbtxt` and its graph, to the byte that of the
bundle. The formats are those of Triton's documentation, "Model Repository" and "Model
Configuration".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import Manifest, manifest_sha256, read_file
from mnistnet.bundle.runtime import Graph
from mnistnet.bundle.verify import verify
from mnistnet.errors import FileError
from mnistnet.files import replace_folder, write_bytes
from mnistnet.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from mnistnet.bundle.runtime import Signature

MODELS = ("digit", "picture")
FILES = ("config.pbtxt", "1", "1/model.onnx")  # of each model; 1 is the model's version
TYPES = {"uint8": "TYPE_UINT8", "float": "TYPE_FP32", "bool": "TYPE_BOOL", "int64": "TYPE_INT64"}
MAX_BATCH = 128  # images; more do not fit into the processor's cache
MAX_DELAY_US = 2000  # that a request waits for others


def write_repository(bundle: Path, directory: Path) -> Manifest:
    """Write a verified bundle's graphs as the models `digit` and `picture` of a repository.

    Args:
        bundle: the bundle; a run is exported to one first.
        directory: of the repository; one that an earlier call wrote is replaced.

    Returns:
        The bundle's manifest.

    Raises:
        BundleError: the bundle fails verification, or is none.
        FileError: the directory cannot be written, or holds something else.
    """
    manifest = verify(bundle)
    with replace_folder(directory, MODELS) as temporary:
        _check_replaceable(directory)
        identity = manifest_sha256(bundle)
        for model in MODELS:
            name = f"{model}.onnx"
            config = _config(model, Graph(bundle, name, manifest).signature, manifest, identity)
            write_bytes(temporary / model / "config.pbtxt", config.encode())
            write_bytes(temporary / model / "1" / "model.onnx", read_file(bundle, name, manifest))
    return manifest


def _check_replaceable(directory: Path) -> None:
    """Check that a directory holds nothing but what this module writes. Raises FileError."""
    ours = {f"{model}/{file}" for model in MODELS for file in FILES} | set(MODELS)
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if name not in ours or path.is_symlink():
            raise FileError(
                f"{directory}: holds {printable(name)}, so it is not replaced; choose another"
                " folder"
            )


def _config(model: str, signature: Signature, manifest: Manifest, identity: str) -> str:
    """Return a model's `config.pbtxt`, in protobuf's text format.

    Threshold and identity (the manifest's SHA-256) are for clients: Triton passes them on.
    """
    (_, _, shape), *_ = signature
    batched = shape[0] == "N"  # the picture's graph takes one picture
    ends = [_end(name, kind, dims[1:] if batched else dims) for name, kind, dims in signature]
    parameters = {
        "threshold": str(manifest.threshold),
        "bundle_sha256": identity,
        "intra_op_thread_count": "1",  # ONNX Runtime's; the graphs are too small for more
    }
    blocks = [
        f'name: "{model}"\nbackend: "onnxruntime"\nmax_batch_size: {MAX_BATCH if batched else 0}',
        f"input [\n{ends[0]}\n]",
        "output [\n{}\n]".format(",\n".join(ends[1:])),
        "instance_group [\n  { kind: KIND_CPU }\n]",
        *([f"dynamic_batching {{\n  max_queue_delay_microseconds: {MAX_DELAY_US}\n}}"] * batched),
        *(
            f'parameters {{\n  key: "{key}"\n  value: {{ string_value: "{value}" }}\n}}'
            for key, value in parameters.items()
        ),
    ]
    return "\n".join(blocks) + "\n"


def _end(name: str, kind: str, dims: list[int | str]) -> str:
    """Return one input or output; Triton's name for a scalar's shape is [ 1 ]."""
    sizes = ", ".join(str(size) if isinstance(size, int) else "-1" for size in dims or [1])
    return f'  {{ name: "{name}", data_type: {TYPES[kind]}, dims: [ {sizes} ] }}'
