"""What a network is to say of pictures: their labels, or what other networks say of them together.

    targets = from_labels(labels, smoothing=0.05)                           # (N,) → (N, 10)
    targets = Teachers(networks, hardware, temperature=3.0).say(images, pool)  # → (N, 10)

Networks that began differently err differently: together they are right more often than any of
them. One alone can learn much of that (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge
in a Neural Network"): of every varied picture it hears which digit it is, and how much it looks
like each of the other nine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mnistnet.training.prediction import reader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from torch import Tensor

    from mnistnet.model.network import MnistNet
    from mnistnet.training.hardware import Hardware

PART = 320  # pictures a call; parts of a fixed size, so that more threads change nothing


def from_labels(labels: Tensor, smoothing: float) -> Tensor:
    """Give targets that name one digit, smoothed (Szegedy et al. 2016).

    Args:
        labels: int64 (N,), 0–9.
        smoothing: the share of each target that is spread evenly over all ten, 0–1.

    Returns:
        float32 (N, 10); each row adds up to 1.
    """
    targets = torch.full((len(labels), 10), smoothing / 10, device=labels.device)
    return targets.scatter_(1, labels.unsqueeze(1), 1 - smoothing + smoothing / 10)


class Teachers:
    """Trained networks, asked together.

    Args:
        networks: on the CPU, in evaluation mode.
        hardware: what they compute with.
        temperature: by which log-probabilities are divided. Above 1 it softens them, so that
            what a picture is not counts for more.
    """

    def __init__(
        self, networks: Sequence[MnistNet], hardware: Hardware, temperature: float
    ) -> None:
        self.readers = [reader(net, hardware) for net in networks]
        self.temperature = temperature

    def say(self, images: Tensor, pool: Executor) -> Tensor:
        """Give the normalised geometric mean of their softened probabilities.

        Args:
            images: uint8 (N, 28, 28).
            pool: threads to share the pictures with.

        Returns:
            float32 (N, 10); each row adds up to 1.
        """
        return torch.cat(list(pool.map(self._say, torch.split(images, PART))))

    @torch.no_grad()
    def _say(self, images: Tensor) -> Tensor:
        logs = torch.stack([read(images).log_softmax(1) for read in self.readers])
        return (logs.mean(0) / self.temperature).softmax(1)
