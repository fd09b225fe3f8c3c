"""Choose what a recipe is trained with on this machine: `engine_for(recipe)`.

The native kernels are the fastest on a processor, and start without importing torch. PyTorch trains
on other devices, on processors that the kernels were not built for, and where a recipe asks for it.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from mnistnet.errors import MissingError, RecipeError
from mnistnet.extras import import_extra
from mnistnet.training.native import Native, load_library, precision_of, variants

if TYPE_CHECKING:
    from mnistnet.training.engine import Engine
    from mnistnet.training.recipe import Recipe

LOG = logging.getLogger(__name__)


def engine_for(recipe: Recipe, *, instruction_set: str = "") -> Engine:
    """Choose the engine of a recipe.

    Args:
        recipe: its engine, device, precision and threads count.
        instruction_set: of the native kernels, if this processor has it; otherwise the best.

    Raises:
        RecipeError: the engine or the device that it names cannot be had here.
        MissingError: only PyTorch could compute it, which is not installed.
    """
    threads = recipe.threads or default_threads()
    if threads > processors():
        LOG.warning("threads is %d, but there are %d processors: slow", threads, processors())
    why = ""
    if recipe.engine != "torch":
        try:
            return _native(recipe, threads, instruction_set)
        except MissingError as obstacle:
            why = str(obstacle)
        if recipe.engine == "native":
            raise RecipeError(f"engine is native, but {why}; or use engine=auto")
    import_extra("train", "torch")
    from mnistnet.training.torch_engine import Torch

    return Torch(recipe, threads, why)


def default_threads() -> int:
    """Return one thread for each processor, but no more than OMP_NUM_THREADS allows."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(processors(), int(allowed)) if allowed.isdecimal() and int(allowed) else processors()


def processors() -> int:
    """Count the processors (cores) that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _native(recipe: Recipe, threads: int, instruction_set: str) -> Native:
    """Return the native engine. Raises MissingError, which says why it cannot be had."""
    if recipe.device not in ("auto", "cpu"):
        raise MissingError(f"the device is {recipe.device}")
    library = load_library()
    there = sorted(variants(library), key=lambda variant: variant != instruction_set)
    for variant in there:
        if recipe.precision in ("auto", precision_of(variant)):
            return Native(library, variant, threads)
    if there:
        raise MissingError(f"this processor does not compute in {recipe.precision}")
    raise MissingError("the native kernels were not built for this processor")
