"""ONNX Runtime: the one place where a bundle's graph is loaded and run.

    graph = Graph(Path("bundle"), "digit.onnx", manifest)
    (probabilities,) = graph.run(images)              # uint8 (N, 28, 28) → float32 (N, 10)

A bundle's graph may be anybody's: its file is checked before the runtime sees it, what it may take
of memory and time is bounded, what comes out is checked, and whatever the runtime raises becomes a
BundleError of one line. Nothing else in the program imports onnxruntime.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import cache, partial
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.bundle.graph_file import check_graph
from mnistnet.bundle.manifest import read_file
from mnistnet.errors import BundleError
from mnistnet.text import first_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mnistnet.bundle.manifest import Manifest

    Compute = Callable[[], list[Any]]
    Answers = SimpleQueue[list[Any] | Exception]

# The input and the outputs: name, ONNX type and shape; a letter stands for any number.
Signature = list[tuple[str, str, list[int | str]]]
SIGNATURES: dict[str, Signature] = {
    "digit.onnx": [
        ("images", "uint8", ["N", 28, 28]),
        ("probabilities", "float", ["N", 10]),
    ],
    "picture.onnx": [
        ("picture", "uint8", ["H", "W", 4]),
        ("probabilities", "float", [10]),
        ("seen", "uint8", [28, 28]),
        ("ink", "bool", []),
        ("several", "bool", []),
        ("hypothesis", "int64", []),
    ],
}
PICTURE_OF_FORMAT_1: Signature = [
    ("picture", "uint8", ["H", "W"]),
    *SIGNATURES["picture.onnx"][1:4],
]

# What a run may take. The largest picture that is predicted takes 230 MB and a second.
MAX_RUN_BYTES = 320 * 2**20
MAX_RUN_S = 20.0
WAIT_S = 0.5  # the steps of waiting; Windows sees Ctrl-C in between only
SHRINK_FROM = 1_000_000  # values of an input, from which the memory is given back after the run
SUM_TOLERANCE = 1e-3  # of probabilities, which add up to 1

_cores = os.cpu_count() or 1
_slots = BoundedSemaphore(_cores)  # more runs at once would gain nothing
_idle: list[_Worker] = []


class Graph:
    """One of a bundle's graphs, loaded; it may be run from several threads at once.

    Args:
        directory: the bundle.
        name: of the graph's file, `digit.onnx` or `picture.onnx`.
        manifest: the bundle's; the file must have the size and SHA-256 that it names.
        threads: how many a call may use.
        budget_s: how long all runs together may take, wall time.

    Raises:
        BundleError: the file is not the manifest's, holds what the format does not allow, or the
            runtime cannot load it.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        manifest: Manifest,
        *,
        threads: int = 1,
        budget_s: float = math.inf,
    ) -> None:
        self.path = directory / name
        self._left_s = budget_s
        self._stopped = Event()
        old = manifest.format_version == 1 and name == "picture.onnx"
        self.signature = PICTURE_OF_FORMAT_1 if old else SIGNATURES[name]
        content = read_file(directory, name, manifest)
        try:
            check_graph(content)
        except ValueError as error:
            raise BundleError(
                f"{self.path}: is no graph of the format, it {error}; get the bundle again"
            ) from None
        try:  # optimising a thousand small nodes takes longer than ten runs
            self._session = new_session(content, threads, optimised=name != "picture.onnx")
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise self.broken("cannot be loaded", error) from error
        ends = [*self._session.get_inputs(), *self._session.get_outputs()]
        expected = [(end, f"tensor({kind})", shape) for end, kind, shape in self.signature]
        if [(end.name, end.type, end.shape) for end in ends] != expected:
            raise self.broken("has other inputs or outputs than its format")

    def run(self, array: NDArray[np.uint8]) -> list[Any]:
        """Return the outputs for the one input, in the graph's order, of the format's shapes.

        Raises:
            BundleError: the runtime cannot run the graph on it within MAX_RUN_S, the budget and the
                memory, or what comes out is not of the format.
        """
        if self._left_s <= 0:
            raise self.broken("takes too long")
        (name, _, shape), *signatures = self.signature
        options = _onnxruntime().RunOptions()
        if array.size >= SHRINK_FROM:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        compute = partial(self._session.run, None, {name: array}, options)
        with _slots:
            started = monotonic()
            try:
                limit_s = min(MAX_RUN_S, self._left_s)
                outputs = _within(limit_s, compute, options, self._stopped)
            except Exception as error:  # as above
                raise self.broken("cannot be run", error) from error
            finally:
                self._left_s -= monotonic() - started
        sizes: dict[int | str, int] = dict(zip(shape, array.shape, strict=True))
        for (name, kind, shape), output in zip(signatures, outputs, strict=True):
            if output.shape != tuple(sizes.get(size, size) for size in shape):
                raise self.broken(f"returns {name} of another shape than its format")
            if kind == "float" and not _are_probabilities(output):
                raise self.broken(f"returns {name} that are none")
            if kind == "int64" and output < 0:  # an index
                raise self.broken(f"returns a negative {name}")
        return outputs

    def stop(self) -> None:
        """Have the runs in progress end soon, with an error, and all later ones at once."""
        self._stopped.set()

    def broken(self, problem: str, cause: Exception | None = None) -> BundleError:
        """Make the error for something that is wrong with the graph, or with the runtime here."""
        reason = f" ({first_line(cause)})" if cause else ""
        return BundleError(
            f"{self.path}: {problem} with {runtime_name()}{reason};"
            " get the bundle again, or install another onnxruntime"
        )


def new_session(content: bytes, threads: int = 1, *, optimised: bool = True) -> Any:
    """Load a graph into ONNX Runtime. Raises whatever the runtime does where it cannot."""
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised; the log would only repeat it
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.use_env_allocators", "1")
    if not optimised:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return runtime.InferenceSession(
        content,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["ConstantFolding"],  # it would compute without a deadline
    )


def runtime_name() -> str:
    """Return the runtime's name and version, for messages and reports."""
    return f"ONNX Runtime {_onnxruntime().__version__}"


@cache
def _onnxruntime() -> Any:
    """Import the runtime so that it stays silent, offline and within its memory."""
    # It would write an identifier of this device and report home; its own call comes too late.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    memory = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"max_mem": _cores * MAX_RUN_BYTES}))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_idle.clear)  # a fork has no threads
    return ort


class _Worker(Thread):
    """Runs graphs. It is used again: starting a thread for each run would take a tenth longer."""

    def __init__(self) -> None:
        super().__init__(daemon=True)  # the process may end while an operator computes
        self.jobs: SimpleQueue[tuple[Compute, Answers]] = SimpleQueue()
        self.start()

    def run(self) -> None:
        while True:
            self._do(*self.jobs.get())  # whose memory is free again while the next is waited for

    def _do(self, compute: Compute, answers: Answers) -> None:
        try:
            answer: list[Any] | Exception = compute()
        except Exception as error:
            answer = error
        _idle.append(self)
        answers.put(answer)


def _within(limit_s: float, compute: Compute, options: Any, stopped: Event) -> list[Any]:
    """Return what is computed. A worker does it: nothing stops an operator, but one can go on.

    Args:
        limit_s: how long it may take.
        compute: runs a graph.
        options: that it runs with.
        stopped: once it is set, nobody waits for the answer any more.

    Raises:
        TimeoutError: it is not done within the limit, or before it is stopped.
        Exception: what the computation raises.
    """
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    answers: Answers = SimpleQueue()
    worker.jobs.put((compute, answers))
    step_s = min(limit_s, WAIT_S)
    try:
        for _ in range(math.ceil(limit_s / step_s)):  # while the process is stopped, none passes
            if stopped.is_set():
                raise TimeoutError("was stopped")
            with suppress(Empty):
                answer = answers.get(timeout=step_s)
                break
        else:
            raise TimeoutError(f"takes more than {limit_s:.3g} s")
    except BaseException:  # Ctrl-C, too
        options.terminate = True  # the runtime looks at it before each operator
        with suppress(Empty):
            answers.get(timeout=WAIT_S)  # a process that ends just then would abort
        raise
    if isinstance(answer, Exception):
        raise answer
    return answer


def _are_probabilities(array: NDArray[np.float32]) -> bool:
    sums = array.sum(axis=-1)
    return bool((np.abs(sums - 1) <= SUM_TOLERANCE).all() and (array >= 0).all())
