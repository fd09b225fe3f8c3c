"""Train with the native kernels: C++ from the random draws to the weights, called by ctypes.

    library = load_library()                       # built when the package is installed
    engine = Native(library, "avx512_bf16", threads=2)

Needs NumPy alone. The library holds the kernels once for each instruction set that it was built
for, its *variants*; the structures below are those of kernels/interface.h, field by field.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.errors import MissingError, TrainingError
from mnistnet.model.architecture import parameter_count
from mnistnet.training.engine import Chunk, Environment, Trained
from mnistnet.training.state import state_size, weights_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mnistnet.training.draws import Draws
    from mnistnet.training.state import State

    Floats = NDArray[np.float32]

SUFFIXES = {"win32": ".dll", "darwin": ".dylib"}  # elsewhere .so
LIBRARY = Path(__file__).with_name("kernels") / f"libmnistnet{SUFFIXES.get(sys.platform, '.so')}"
GET_IT = "pip install mnistnet again where there are CMake and a C++ compiler"
FAILURES = {  # by what a function returns; 0: none
    1: "they were not built for this processor; use engine=torch",
    2: "sizes do not fit together",
    3: "there is not enough memory; lower batch_size",
    4: "a thread could not be started; lower threads",
    5: "a random draw is out of its range",
}
ADDRESS, COUNT, NUMBER = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class _Draws(ctypes.Structure):
    _fields_ = (
        *(("grid", ADDRESS), ("grid_columns", COUNT), ("stroke", ADDRESS), ("downsample", ADDRESS)),
        *(("contrast", ADDRESS), ("noise_kind", ADDRESS), ("noise_level", ADDRESS)),
        *(("noise_offset", ADDRESS), ("grain", ADDRESS), ("grains", COUNT)),
        *(("coarse", ADDRESS), ("coarse_count", COUNT), ("dropout", ADDRESS)),
    )


class _Job(ctypes.Structure):
    _fields_ = (
        *(("threads", COUNT), ("batch_size", COUNT), ("batches", COUNT)),
        *(("images", ADDRESS), ("targets", ADDRESS), ("draws", _Draws)),
        *(("teachers", ADDRESS), ("teacher_count", COUNT), ("temperature", NUMBER)),
        *(("rates", ADDRESS), ("beta1", NUMBER), ("beta2", NUMBER), ("weight_decay", NUMBER)),
        ("hardest", NUMBER),
        *(("steps", COUNT), ("state", ADDRESS), ("losses", ADDRESS), ("correct", ADDRESS)),
        ("stop", ADDRESS),
    )


@cache
def load_library() -> ctypes.CDLL:
    """Load the kernels' library.

    Raises:
        MissingError: it was not built, cannot be loaded, or belongs to another version.
    """
    if not LIBRARY.is_file():
        raise MissingError(f"the native kernels were not built; to get them, {GET_IT}")
    try:
        library = ctypes.CDLL(str(LIBRARY))
        measures = [
            getattr(library, f"mnistnet_{part}_size") for part in ("state", "weights", "job")
        ]
        for measure in measures:
            measure.restype = COUNT
        for function in (library.mnistnet_variants, library.mnistnet_compiler):
            function.restype = ctypes.c_char_p
        library.mnistnet_train.argtypes = [ctypes.c_char_p, ADDRESS]
        library.mnistnet_gradients.argtypes = [ctypes.c_char_p, ADDRESS, ADDRESS]
        library.mnistnet_augment.argtypes = [
            *(ctypes.c_char_p, COUNT, ADDRESS, COUNT, ADDRESS, ADDRESS)
        ]
        library.mnistnet_predict.argtypes = [
            *(ctypes.c_char_p, COUNT, ADDRESS, ADDRESS, COUNT, ADDRESS)
        ]
        sizes = [measure() for measure in measures]
    except (OSError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise MissingError(f"the native kernels do not load ({reason}); {GET_IT}") from None
    if sizes != [state_size(), weights_size(), ctypes.sizeof(_Job)]:
        raise MissingError(f"the native kernels are of another version; {GET_IT}")
    return library


def variants(library: ctypes.CDLL) -> list[str]:
    """Return the variants that this processor can run, the best first."""
    return [name for name in library.mnistnet_variants().decode().split(",") if name]


def precision_of(variant: str) -> str:
    """Return the precision that a variant trains in; all predict in float32."""
    return "bfloat16" if variant.endswith("bf16") else "float32"


class Native:
    """The engine that computes with the native kernels. See `Engine`."""

    why = ""

    def __init__(self, library: ctypes.CDLL, variant: str, threads: int) -> None:
        self._library, self._variant, self._threads = library, variant.encode(), threads
        self.environment = Environment(
            device="cpu",
            engine="native",
            precision=precision_of(variant),
            threads=threads,
            instruction_set=variant,
            compiler=library.mnistnet_compiler().decode(),
        )

    def augment(self, images: NDArray[np.uint8], draws: Draws) -> NDArray[np.uint8]:
        """See `Engine`."""
        augmented, structure = np.empty_like(images), _draws(draws)
        arguments = (
            _address(images),
            len(images),
            ctypes.addressof(structure),
            _address(augmented),
        )
        _check(self._library.mnistnet_augment(self._variant, self._threads, *arguments))
        return augmented

    def gradients(self, state: State, chunk: Chunk) -> Floats:
        """See `Engine`."""
        gradients = np.empty(parameter_count(), np.float32)
        job, losses, correct = self._job(state, chunk)
        used = (state, chunk, losses, correct, gradients)
        self._carry_out(used, job, self._library.mnistnet_gradients, _address(gradients))
        return gradients

    def train(self, state: State, chunk: Chunk) -> Trained:
        """See `Engine`."""
        job, losses, correct = self._job(state, chunk)
        self._carry_out((state, chunk, losses, correct), job, self._library.mnistnet_train)
        state.steps += len(losses)
        return Trained(losses.tolist(), correct.tolist())

    def probabilities(self, weights: Floats, images: NDArray[np.uint8]) -> Floats:
        """See `Engine`."""
        images, found = np.ascontiguousarray(images), np.empty((len(images), 10), np.float32)
        arguments = (_address(weights), _address(images), len(images), _address(found))
        _check(self._library.mnistnet_predict(self._variant, self._threads, *arguments))
        return found

    def _job(
        self, state: State, chunk: Chunk
    ) -> tuple[_Job, NDArray[np.float64], NDArray[np.int64]]:
        """Return the structure of a chunk, and where losses and correct predictions are written."""
        recipe, batches = chunk.recipe, len(chunk.rates)
        assert len(chunk.images) == len(chunk.targets) == batches * recipe.batch_size
        assert chunk.teachers.shape[1:] == state.weights.shape
        losses, correct = np.zeros(batches), np.zeros(batches, np.int64)
        job = _Job(
            threads=self._threads,
            batch_size=recipe.batch_size,
            batches=batches,
            images=_address(chunk.images),
            targets=_address(chunk.targets),
            draws=_draws(chunk.draws),
            teachers=_address(chunk.teachers) if len(chunk.teachers) else None,
            teacher_count=len(chunk.teachers),
            temperature=recipe.temperature,
            rates=_address(chunk.rates),
            beta1=recipe.beta1,
            beta2=recipe.beta2,
            weight_decay=recipe.weight_decay,
            hardest=recipe.hardest,
            steps=state.steps,
            state=_address(state.values),
            losses=_address(losses),
            correct=_address(correct),
        )
        return job, losses, correct

    def _carry_out(
        self, used: tuple[object, ...], job: _Job, function: Callable[..., int], *more: int | None
    ) -> None:
        """Call a function in a thread of its own, so that Ctrl-C ends it at once.

        The thread holds what the job points to, whatever happens to the caller.
        """
        stop, codes = ctypes.c_int32(0), []
        job.stop = ctypes.addressof(stop)

        def call(*_: object) -> None:
            codes.append(function(self._variant, ctypes.byref(job), *more))

        thread = Thread(target=call, args=(used, stop))
        thread.start()
        try:
            while thread.is_alive():
                thread.join(1)  # with a limit, or Windows would not notice Ctrl-C
        finally:
            stop.value = 1  # the kernels look at it every few images
            thread.join()
        _check(codes[0])


def _draws(draws: Draws) -> _Draws:
    """Return the structure of some draws; it points to their arrays."""
    structure = _Draws(
        grid=_address(draws.grid),
        grid_columns=0 if draws.grid is None else draws.grid.shape[1],
        stroke=_address(draws.stroke),
        downsample=_address(draws.downsample),
        contrast=_address(draws.contrast),
        dropout=_address(draws.dropout),
    )
    if noise := draws.noise:
        structure.noise_kind, structure.noise_level = _address(noise.kind), _address(noise.level)
        structure.noise_offset = _address(noise.row)
        structure.grain, structure.grains = _address(noise.grain), len(noise.grain)
        structure.coarse, structure.coarse_count = _address(noise.coarse), len(noise.coarse)
    return structure


def _address(array: NDArray[Any] | None) -> int | None:
    """Return where an array's numbers start; the caller keeps it alive."""
    if array is None:
        return None
    assert array.flags.c_contiguous
    return array.ctypes.data


def _check(code: int) -> None:
    if code:
        reason = FAILURES.get(code, f"error {code}; use engine=torch")
        raise TrainingError(f"the native kernels failed: {reason}")
