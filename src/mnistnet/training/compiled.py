"""The training step compiled for this processor, where there is a C++ compiler.

    step = compiled_step("float32")         # None where there is none

`step.cpp` is MnistNet's forward and backward pass in one function, `soap.cpp` the optimiser's step
with a matrix. They are compiled when a run first needs them (a few seconds), for the processor it
runs on, and kept in the user's cache folder. Elsewhere torch's own layers and operations run.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mnistnet.errors import FileError
from mnistnet.files import scratch_folder, sha256
from mnistnet.model.architecture import MEAN, STD, layers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

SOURCES = [Path(__file__).with_name(name) for name in ("step.cpp", "soap.cpp")]
HEADERS = [Path(__file__).with_name(name) for name in ("layers.h", "vectors.h")]
FLAGS = (
    *("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing"),
    *("-shared", "-fPIC"),
)
DEFINES = {"float32": (), "bfloat16": ("-DBFLOAT16",)}
# The same option for two compilers. Untuned, torch's layers are as fast: see benchmarks/LOG.md.
TUNING = ("-march=native", "-mcpu=native")
COMPILER_TIMEOUT_S = 120
LOG = logging.getLogger(__name__)


class _Matrix(ctypes.Structure):
    """Matrix in soap.cpp, field by field."""

    TENSORS = ("parameter", "gradient", "mean", "square", "left", "right")
    BASES = ("left_basis", "right_basis", "right_transposed")
    NUMBERS = ("beta1", "beta2", "mean_weight", "square_weight", "rate", "decay")
    _fields_ = (
        *((name, ctypes.c_void_p) for name in (*TENSORS, *BASES)),
        *((name, ctypes.c_float) for name in NUMBERS),
    )


class CompiledStep:
    """The compiled functions, with tensors for arguments.

    Attributes:
        compiler: its name and version, for the record: another may round differently.
    """

    def __init__(self, library: Path, compiler: str) -> None:
        self.compiler = compiler
        loaded = ctypes.CDLL(str(library))
        self._workspace_bytes = loaded.workspace_bytes
        self._workspace_bytes.argtypes = [ctypes.c_int64]
        self._workspace_bytes.restype = ctypes.c_int64
        self._gradients = loaded.gradients
        self._gradients.argtypes = [
            *[ctypes.c_void_p] * 5,
            ctypes.c_int64,
            *[ctypes.c_float] * 3,
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_int64),
        ]
        self._gradients.restype = ctypes.c_double
        self._take_step = loaded.take_step
        self._take_step.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.POINTER(_Matrix)]
        self._take_step.restype = ctypes.c_bool
        self._logits = loaded.logits
        self._logits.argtypes = [
            *[ctypes.c_void_p] * 3,
            ctypes.c_int64,
            *[ctypes.c_float] * 2,
            *[ctypes.c_void_p] * 2,
        ]

    def workspace(self, pictures: int) -> Tensor:
        """Allocate the memory that a share of so many pictures needs."""
        return torch.empty(self._workspace_bytes(pictures), dtype=torch.uint8)

    def gradients(
        self,
        parameters: Tensor,
        gradients: Tensor,
        statistics: Tensor,
        images: Tensor,
        targets: Tensor,
        workspace: Tensor,
        *,
        weight: float,
    ) -> tuple[float, int]:
        """Write the gradients of a share of a batch.

        Args:
            parameters: float32 (20826,), in the order of the network's parameters.
            gradients: float32 (20826,), written.
            statistics: float32 (272,), each BatchNorm's running mean and variance; updated.
            images: uint8 (N, 28, 28).
            targets: float32 (N, 10), probabilities.
            workspace: of at least N pictures.
            weight: of a picture's loss in the batch's mean.

        Returns:
            The share's part of the batch's loss, and how many were read right.
        """
        correct = ctypes.c_int64(0)
        tensors = (parameters, gradients, statistics, images.contiguous(), targets.contiguous())
        loss = self._gradients(
            *(tensor.data_ptr() for tensor in tensors),
            len(images),
            1 / (255 * STD),
            -MEAN / STD,
            weight,
            workspace.data_ptr(),
            ctypes.byref(correct),
        )
        return loss, correct.value

    def logits(self, parameters: Tensor, statistics: Tensor, images: Tensor) -> Tensor:
        """Read pictures: uint8 (N, 28, 28) → float32 (N, 10), which a softmax makes probabilities.

        Args:
            parameters: float32 (20826,), as above.
            statistics: float32 (272,), as above; read only.
            images: uint8 (N, 28, 28).
        """
        logits, workspace = torch.empty(len(images), 10), self.workspace(1)
        images = images.contiguous()
        self._logits(
            *(tensor.data_ptr() for tensor in (parameters, statistics, images)),
            len(images),
            1 / (255 * STD),
            -MEAN / STD,
            *(tensor.data_ptr() for tensor in (workspace, logits)),
        )
        return logits

    def take_step(self, tensors: Mapping[str, Tensor], **numbers: float) -> None:
        """Take SOAP's step with a matrix, and update its state.

        Args:
            tensors: float32, in one piece each: the matrix as "parameter" (R, C, whatever C is
                made of), its "gradient", and its state as the optimiser names it.
            numbers: beta1, beta2, rate; decay, the factor on each weight; mean_weight and
                square_weight, the bias corrections of the means of gradients and squares.
        """
        matrix = _Matrix(**{name: t.data_ptr() for name, t in tensors.items()}, **numbers)
        rows, columns = tensors["mean"].shape
        if not self._take_step(rows, columns, matrix):
            raise ValueError(f"MnistNet has no matrix ({rows}, {columns})")


@cache
def compiled_step(precision: str) -> CompiledStep | None:
    """Compile the step, or find it compiled; None where there is no compiler that can.

    Args:
        precision: of what is multiplied, "float32", or "bfloat16" on a processor that has
            instructions for it. Sums are float32 in both.
    """
    compiler = _compiler()
    if compiler is None or (precision == "bfloat16" and not _multiplies_bfloat16()):
        return None
    path, version = compiler
    flags = (*FLAGS, *DEFINES[precision], _layers_definition())
    code = b"".join(file.read_bytes() for file in (*SOURCES, *HEADERS))
    key = sha256(code + "\n".join((version, *flags, _processor())).encode())[:16]
    for place in _places():
        try:
            with place as folder:
                library = folder / f"step-{key}.so"
                if not library.is_file():
                    folder.mkdir(parents=True, exist_ok=True)
                    text = "compiling the training step in %s, once: a few seconds …"
                    LOG.warning(text, precision)
                    if not _compile(path, flags, library):
                        return None
                return CompiledStep(library, version)
        except (OSError, FileError):  # it cannot be written, or forbids running from it
            continue
    return None


def statistics_of(net: nn.Module) -> list[Tensor]:
    """Return every BatchNorm's running mean and variance, in the order that the step takes them."""
    return [buffer for buffer in net.buffers() if buffer.ndim]


def _layers_definition() -> str:
    """Return the layers' sizes as layers.h reads them."""
    rows = (
        f"{{{layer.kind.upper()},{layer.inputs},{layer.channels},{layer.kernel},"
        f"{layer.side_in},{layer.side}}}"
        for layer in layers()
    )
    return "-DLAYERS=" + ",".join(rows)


def _multiplies_bfloat16() -> bool:
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


@cache
def _compiler() -> tuple[str, str] | None:
    """Find a compiler: the one that $CXX names, or the system's; its path and version."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            done = _run([path, "--version"])
            if done:
                return path, done.splitlines()[0]
    return None


def _compile(compiler: str, flags: Sequence[str], library: Path) -> bool:
    for tuning in TUNING:
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / library.name
            if _run([compiler, *flags, tuning, *map(str, SOURCES), "-o", str(made)]) is not None:
                made.replace(library)  # atomically: another run may be about to load it
                return True
    return False


def _run(command: Sequence[str]) -> str | None:
    """Run a program and return what it prints; None if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 – the compiler of the user's own system
            command, capture_output=True, text=True, check=True, timeout=COMPILER_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _places() -> list[AbstractContextManager[Path]]:
    """Return the user's cache, and a folder that is deleted once the step is loaded from it."""
    import platformdirs

    cache = platformdirs.user_cache_path("mnistnet", appauthor=False) / "compiled"
    return [nullcontext(cache), scratch_folder()]


def _processor() -> str:
    """Identify what -march=native depends on: machines may share a cache folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = [platform.processor()]
    named = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return "\n".join((platform.machine(), *sorted(named or lines)))
