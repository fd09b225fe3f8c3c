"""Initialise the first layer from the training images: whitened patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from mnistnet.model.network import normalise

if TYPE_CHECKING:
    from torch import Tensor

    from mnistnet.model.network import MnistNet

SAMPLE = 500  # images to take patches of: 300,000 patches, far more than 9×9 covariances need
FLAT = 0.16  # standard deviation, in normalised grey, below which a patch holds no edge
GAIN = 1.6  # standard deviation of the filters' output, so that GELU's curved part is used


def whiten_first_layer(net: MnistNet, images: Tensor) -> None:
    """Set the first convolution to the principal components of 3×3 patches, in place.

    The four principal components of the largest variance, each scaled to the same standard
    deviation, with both signs, since GELU passes only one. They stay trainable. After Page 2018,
    "How to train your ResNet" and Jordan 2024, "94% on CIFAR-10 in 3.29 seconds".

    Args:
        net: a new network.
        images: uint8 (N, 28, 28), the training images.
    """
    x = normalise(images[:SAMPLE].cpu())
    patches = F.unfold(x, kernel_size=3).transpose(1, 2).reshape(-1, 9)
    patches = patches[patches.std(1) > FLAT]
    centred = patches - patches.mean(0)
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))  # ascending
    filters = (directions[:, -4:] / variances[-4:].sqrt()).T.flip(0) * GAIN  # (4, 9)
    first = net.features[0]
    assert isinstance(first, nn.Conv2d)
    assert first.bias is not None
    with torch.no_grad():
        first.weight.copy_(torch.cat([filters, -filters]).view(8, 1, 3, 3))
        first.bias.zero_()
