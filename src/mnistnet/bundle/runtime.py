"""ONNX Runtime: the one place where a bundle's graph is loaded and run.

    graph = Graph(Path("bundle"), "digit.onnx", manifest)
    (probabilities,) = graph.run(images)              # uint8 (N, 28, 28) → float32 (N, 10)

Whatever the runtime raises becomes a BundleError of one line. Nothing else in the program imports
onnxruntime, so what must happen before that import, or before a session is made, goes here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mnistnet.bundle.manifest import read_file
from mnistnet.errors import BundleError
from mnistnet.text import first_line

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnistnet.bundle.manifest import Manifest

# The input and the outputs: name, ONNX type and shape; a letter stands for any number.
SIGNATURES: dict[str, list[tuple[str, str, list[int | str]]]] = {
    "digit.onnx": [
        ("images", "uint8", ["N", 28, 28]),
        ("probabilities", "float", ["N", 10]),
    ],
    "picture.onnx": [
        ("picture", "uint8", ["H", "W"]),
        ("probabilities", "float", [10]),
        ("seen", "uint8", [28, 28]),
        ("ink", "bool", []),
    ],
}


class Graph:
    """One of a bundle's graphs, loaded; it may be run from several threads at once.

    Args:
        directory: the bundle.
        name: of the graph's file, `digit.onnx` or `picture.onnx`.
        manifest: the bundle's; the file must have the size and SHA-256 that it names.
        threads: how many a call may use.

    Raises:
        BundleError: the file is not the manifest's, the runtime cannot load it, or its inputs and
            outputs are not the format's.
    """

    def __init__(self, directory: Path, name: str, manifest: Manifest, *, threads: int = 1) -> None:
        runtime = _onnxruntime()
        self.path = directory / name
        content = read_file(directory, name, manifest)
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised; the log would only repeat it
        options.intra_op_num_threads = threads
        if name == "picture.onnx":
            # Optimising a thousand small nodes takes longer than reading ten pictures, and the
            # arena would keep the memory that one large picture took, 240 MB.
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.enable_cpu_mem_arena = False
        try:
            self._session = runtime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise self.broken("cannot be loaded", error) from error
        ends = [*self._session.get_inputs(), *self._session.get_outputs()]
        expected = [(end, f"tensor({kind})", shape) for end, kind, shape in SIGNATURES[name]]
        if [(end.name, end.type, end.shape) for end in ends] != expected:
            raise self.broken("has other inputs or outputs than its format")

    def run(self, array: NDArray[np.uint8]) -> list[Any]:
        """Return the outputs for the one input, in the graph's order.

        Raises:
            BundleError: the runtime cannot run the graph on it.
        """
        try:
            name = self._session.get_inputs()[0].name
            outputs: list[Any] = self._session.run(None, {name: array})
        except Exception as error:  # as above
            raise self.broken("cannot be run", error) from error
        return outputs

    def broken(self, problem: str, cause: Exception | None = None) -> BundleError:
        """Make the error for something that is wrong with the graph, or with the runtime here."""
        reason = f" ({first_line(cause)})" if cause else ""
        return BundleError(
            f"{self.path}: {problem} with {runtime_name()}{reason};"
            " get the bundle again, or install another onnxruntime"
        )


def runtime_name() -> str:
    """Return the runtime's name and version, for messages and reports."""
    return f"ONNX Runtime {_onnxruntime().__version__}"


def _onnxruntime() -> Any:
    """Import the runtime, which would write an identifier of this device and report home."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # its own call comes too late
    import onnxruntime

    return onnxruntime
