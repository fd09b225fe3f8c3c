"""A convolution without padding whose backward pass is faster on a processor than torch's own.

Torch hands the whole of the backward pass to oneDNN, which is slow at two parts of it for few
channels: the bias's gradient, and the input's. A sum and a padded forward convolution give the
same numbers in a fraction of the time; see benchmarks/LOG.md.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve (N, C, H, W) with (K, C, h, w), without padding, stride or dilation."""
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    result: Tensor = _Convolution.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        rows = grad.permute(0, 2, 3, 1).reshape(-1, grad.shape[1])  # (N·H·W, K), no copy
        to_input = _to_input(grad, weight) if ctx.needs_input_grad[0] else None
        _, to_weight, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, False]
        )
        return to_input, to_weight, rows.sum(0)


def _to_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Return the input's gradient: a convolution with the kernels rotated by 180°."""
    border = weight.shape[-1] - 1
    rotated = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
    padded = F.pad(grad, (border,) * 4).contiguous(memory_format=torch.channels_last)
    return F.conv2d(padded, rotated)
