"""What a run computes with: device, engine, precision, threads, and the instruction set.

The same seed gives the same bits only with the same of these, so each run records them.
"""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

from mnistnet.errors import RecipeError
from mnistnet.training.compiled import compiled_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from mnistnet.training.recipe import Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class Hardware:
    """What a recipe's `auto` resolves to on this machine.

    Attributes:
        device: where the layers run.
        engine: "compiled" (the step in C++) or "torch" (its own layers).
        precision: of the layers, "bfloat16" or "float32".
        threads: of the processor.
    """

    device: torch.device
    engine: str
    precision: str
    threads: int


def resolve(recipe: Recipe) -> Hardware:
    """Choose device, engine, precision and threads for a recipe on this machine.

    The compiled step is the fastest on a processor. `auto` takes bfloat16 where the hardware has
    instructions for it: emulated, it is several times slower than float32.

    Raises:
        RecipeError: the device is not there, or the compiled step does not support the recipe.
    """
    device = _device(recipe.device)
    obstacle = _obstacle_to_compiling(recipe, device)
    if recipe.engine == "compiled" and obstacle:
        raise RecipeError(f"engine is compiled, but {obstacle}; use engine=auto or torch")
    may_compile = recipe.engine != "torch" and not obstacle
    compiled = _compilable(recipe.precision) if may_compile else None
    return Hardware(
        device=device,
        engine="compiled" if compiled else "torch",
        precision=compiled or _precision(recipe.precision, device),
        threads=recipe.threads or torch.get_num_threads(),
    )


def describe(recipe: Recipe) -> dict[str, str | int]:
    """Return what repeatability depends on, for the record next to a result."""
    hardware = resolve(recipe)
    step = compiled_step(hardware.precision) if hardware.engine == "compiled" else None
    return {
        "device": hardware.device.type,
        "engine": f"compiled by {step.compiler}" if step else hardware.engine,
        "precision": hardware.precision,
        "threads": hardware.threads,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
    }


def _device(name: str) -> torch.device:
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((d for d, there in present.items() if there), "cpu"))
    if not present.get(name, True):
        raise RecipeError(f"device is {name}, but there is none here; use device=auto or cpu")
    return torch.device(name)


def _obstacle_to_compiling(recipe: Recipe, device: torch.device) -> str | None:
    """Return why the compiled step does not support a recipe; None if it does."""
    if device.type != "cpu":
        return f"the device is {device.type}"
    if recipe.dropout:
        return "it has no dropout"
    if recipe.engine != "torch" and not _compilable(recipe.precision):
        return f"no C++ compiler was found that can build it in precision {recipe.precision}"
    return None


def _compilable(precision: str) -> str | None:
    """Return the precision that the compiled step uses for a recipe's; None if it cannot.

    Whichever it is, a run predicts in float32. Where neither is compiled yet, both are compiled at
    the same time.
    """
    wanted = ("bfloat16", "float32") if precision == "auto" else (precision,)
    with ThreadPoolExecutor() as pool:
        list(pool.map(compiled_step, {*wanted, "float32"}))
    return next((p for p in wanted if compiled_step(p)), None)


def _precision(name: str, device: torch.device) -> str:
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and _processor_has_bfloat16() else "float32"


def _processor_has_bfloat16() -> bool:
    features = torch.cpu.get_capabilities()
    return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def run_parallel(pool: Executor, tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Call functions at the same time and return their results in order.

    The last one runs in the calling thread: a step is so short that waking another thread takes
    a noticeable part of it.
    """
    futures = [pool.submit(task) for task in tasks[:-1]]
    last = tasks[-1]()
    return [*(future.result() for future in futures), last]
