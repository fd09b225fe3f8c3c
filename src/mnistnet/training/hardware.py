"""What a run computes with: device, precision, threads, and the processor's instruction set.

The same seed gives the same bits only on the same three, so each is written down.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import torch

from mnistnet.errors import RecipeError

if TYPE_CHECKING:
    from mnistnet.training.recipe import Recipe


def resolve_device(name: str) -> torch.device:
    """Find the device that a recipe means. Raises RecipeError where it is not there."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((d for d, there in present.items() if there), "cpu"))
    if not present.get(name, True):
        raise RecipeError(f"device is {name}, but there is none here; use device=auto or cpu")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """Say in what the layers compute: "bfloat16" or "float32".

    `auto` takes bfloat16 only where the processor has instructions for it: emulated, it is
    several times slower than float32.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and _processor_has_bfloat16() else "float32"


def _processor_has_bfloat16() -> bool:
    features = torch.cpu.get_capabilities()
    return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def describe(recipe: Recipe) -> dict[str, str | int]:
    """Give what repeatability depends on, for the record beside a result."""
    device = resolve_device(recipe.device)
    return {
        "device": device.type,
        "precision": resolve_precision(recipe.precision, device),
        "threads": recipe.threads or torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
    }
