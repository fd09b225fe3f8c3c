"""What a trained network reads: `predict(net, images)`, in float32 whatever it learnt in.

By torch's layers; or, five times as fast, by the compiled step, if a run uses it anyway.
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
from mnistnet.training.threads import side_by_side

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
    """Give a network's probabilities.

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
            read = reader(net, replace(hardware, precision="float32"))
            with ThreadPoolExecutor(hardware.threads) as pool:
                parts = [partial(read, part) for part in pictures.chunk(hardware.threads)]
                return torch.cat(side_by_side(pool, parts)).softmax(1).numpy()
        return _layers_logits(net, pictures).softmax(1).numpy()


def reader(net: MnistNet, hardware: Hardware) -> Callable[[Tensor], Tensor]:
    """Give what reads pictures with a network: uint8 (N, 28, 28) → logits, float32 (N, 10).

    Args:
        net: on the CPU, in evaluation mode.
        hardware: what to compute with, its precision too; only the thread that calls is used.
    """
    if hardware.engine == "compiled":
        step = compiled_step(hardware.precision)
        assert step is not None  # `resolve` has seen to it
        parameters = torch.cat([p.detach().flatten() for p in net.parameters()])
        statistics = torch.cat([b.flatten() for b in statistics_of(net)])
        return partial(step.logits, parameters, statistics)
    there = copy.deepcopy(net).to(hardware.device)

    def read(images: Tensor) -> Tensor:
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=hardware.precision == "bfloat16"
        ):
            return _layers_logits(there, images)

    return read


def _layers_logits(net: MnistNet, images: Tensor) -> Tensor:
    # Channels-last: convolutions here run twice as fast.
    batches = (normalise(batch) for batch in torch.split(images, BATCH))
    return torch.cat([net(x.to(memory_format=torch.channels_last)) for x in batches])
