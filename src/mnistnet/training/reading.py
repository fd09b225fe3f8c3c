"""What a trained network reads: `probabilities(net, images)`, in float32 whatever it learnt in.

By torch's layers; or, five times as fast, by the compiled step, if a run uses it anyway.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import torch

from mnistnet.model import normalise
from mnistnet.training.compiled import compiled_step
from mnistnet.training.threads import side_by_side

if TYPE_CHECKING:
    from torch import Tensor

    from mnistnet.model import MnistNet
    from mnistnet.training.compiled import CompiledStep
    from mnistnet.training.hardware import Hardware

BATCH = 125  # images; large enough for speed, small enough for the cache


def probabilities(net: MnistNet, images: Tensor, hardware: Hardware | None = None) -> Tensor:
    """Give a network's probabilities.

    Args:
        net: on the CPU, in evaluation mode.
        images: uint8 (N, 28, 28).
        hardware: what the run computed with; None: torch's layers.

    Returns:
        float32 (N, 10); each row adds up to 1.
    """
    step = compiled_step("float32") if hardware and hardware.engine == "compiled" else None
    with torch.inference_mode():
        if step and hardware:
            return _compiled_logits(step, net, images, hardware.threads).softmax(1)
        # Channels-last: convolutions here run twice as fast.
        batches = (normalise(batch) for batch in torch.split(images, BATCH))
        return torch.cat([net(x.to(memory_format=torch.channels_last)).exp() for x in batches])


def _compiled_logits(step: CompiledStep, net: MnistNet, images: Tensor, threads: int) -> Tensor:
    parameters = torch.cat([p.flatten() for p in net.parameters()])
    statistics = torch.cat([b.flatten() for b in net.buffers() if b.ndim])
    with ThreadPoolExecutor(threads) as pool:
        parts = [
            partial(step.logits, parameters, statistics, part) for part in images.chunk(threads)
        ]
        return torch.cat(side_by_side(pool, parts))
