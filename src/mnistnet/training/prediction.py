"""Predict with a trained network: `predict(net, images)`, in float32 whatever it was trained in.

With torch's layers, or with the compiled step, five times as fast, where a run uses that anyway.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from mnistnet.model.network import normalise
from mnistnet.training.compiled import compiled_step, statistics_of
from mnistnet.training.hardware import run_parallel

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from mnistnet.model.network import MnistNet
    from mnistnet.training.hardware import Hardware

BATCH = 125  # images; large enough for speed, small enough for the cache


def predict(
    net: MnistNet, images: NDArray[np.uint8], hardware: Hardware | None = None
) -> NDArray[np.float32]:
    """Compute a network's probabilities.

    Args:
        net: on the CPU, in evaluation mode.
        images: uint8 (N, 28, 28).
        hardware: what the run computed with; None: torch's layers.

    Returns:
        float32 (N, 10); each row adds up to 1.
    """
    pictures = torch.tensor(images)
    with torch.inference_mode():
        if hardware and hardware.engine == "compiled":
            forward = forward_function(net, replace(hardware, precision="float32"))
            with ThreadPoolExecutor(hardware.threads) as pool:
                parts = [partial(forward, part) for part in pictures.chunk(hardware.threads)]
                return torch.cat(run_parallel(pool, parts)).softmax(1).numpy()
        return _torch_logits(net, pictures).softmax(1).numpy()


def runtime_name() -> str:
    """Return what `predict` computes with by default, with its version, for reports."""
    version = torch.__version__.split("+")[0]
    return f"PyTorch {version}, {torch.get_num_threads()} threads"


def forward_function(net: MnistNet, hardware: Hardware) -> Callable[[Tensor], Tensor]:
    """Return a function that computes logits: uint8 (N, 28, 28) → float32 (N, 10).

    Args:
        net: on the CPU, in evaluation mode.
        hardware: what to compute with, and in which precision; only the calling thread is used.
    """
    if hardware.engine == "compiled":
        step = compiled_step(hardware.precision)
        assert step is not None  # `resolve` has checked that
        parameters = torch.cat([p.detach().flatten() for p in net.parameters()])
        statistics = torch.cat([b.flatten() for b in statistics_of(net)])
        return partial(step.logits, parameters, statistics)
    on_device = copy.deepcopy(net).to(hardware.device)

    def forward(images: Tensor) -> Tensor:
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=hardware.precision == "bfloat16"
        ):
            return _torch_logits(on_device, images)

    return forward


def _torch_logits(net: MnistNet, images: Tensor) -> Tensor:
    # Channels-last: convolutions run twice as fast on a processor.
    batches = (normalise(batch) for batch in torch.split(images, BATCH))
    return torch.cat([net(x.to(memory_format=torch.channels_last)) for x in batches])
