"""Targets to train on: smoothed labels, or the soft targets of an ensemble of teachers.

    targets = smooth_labels(labels, smoothing=0.05)                            # (N,) → (N, 10)
    targets = Ensemble(networks, hardware, temperature=3.0).soft_targets(images, pool)

Networks that start from different weights make different mistakes, so that together they are
right more often than any one of them. A single network can learn much of that from their
probabilities, which hold more than the label: how much a picture resembles each of the other nine
digits (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mnistnet.training.prediction import forward_function

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from torch import Tensor

    from mnistnet.model.network import MnistNet
    from mnistnet.training.hardware import Hardware

PART = 320  # pictures a call; parts of a fixed size, so that more threads change nothing


def smooth_labels(labels: Tensor, smoothing: float) -> Tensor:
    """Return one-hot targets with label smoothing (Szegedy et al. 2016).

    Args:
        labels: int64 (N,), 0–9.
        smoothing: the share of each target that is spread evenly over all ten classes, 0–1.

    Returns:
        float32 (N, 10); each row adds up to 1.
    """
    targets = torch.full((len(labels), 10), smoothing / 10, device=labels.device)
    return targets.scatter_(1, labels.unsqueeze(1), 1 - smoothing + smoothing / 10)


class Ensemble:
    """Trained networks, averaged.

    Args:
        networks: on the CPU, in evaluation mode.
        hardware: what they compute with.
        temperature: divides the log-probabilities. Above 1 it softens them, so that the small
            probabilities of the other classes count for more.
    """

    def __init__(
        self, networks: Sequence[MnistNet], hardware: Hardware, temperature: float
    ) -> None:
        self.forwards = [forward_function(net, hardware) for net in networks]
        self.temperature = temperature

    def soft_targets(self, images: Tensor, pool: Executor) -> Tensor:
        """Compute the normalised geometric mean of the networks' softened probabilities.

        Args:
            images: uint8 (N, 28, 28).
            pool: threads to share the pictures with.

        Returns:
            float32 (N, 10); each row adds up to 1.
        """
        return torch.cat(list(pool.map(self._soft_targets, torch.split(images, PART))))

    @torch.no_grad()
    def _soft_targets(self, images: Tensor) -> Tensor:
        logs = torch.stack([forward(images).log_softmax(1) for forward in self.forwards])
        return (logs.mean(0) / self.temperature).softmax(1)
