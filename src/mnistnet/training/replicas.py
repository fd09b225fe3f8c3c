"""The network once a thread: each replica takes its share of every batch.

A batch of this network is too little work to split every layer over two cores: waiting for each
other a hundred times a step, they are hardly faster than one. Two replicas on half a batch each
meet once a step, and are nearly twice as fast. All read the same weights; each has gradients and
BatchNorm statistics of its own, which are added and averaged in a fixed order, so that a run
repeats to the bit.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from mnistnet.model import MnistNet, normalise
from mnistnet.training.convolution import convolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


class Share(NamedTuple):
    """What a replica, or all together, made of their pictures."""

    loss: Tensor  # a scalar: this share's part of the batch's mean
    correct: Tensor  # a scalar: how many were read right


class Replicas:
    """A network's replicas, and the threads that run them.

    Args:
        net: whose weights all replicas read; it takes their gradients.
        count: how many; one runs in the calling thread.
        precision: of the layers, "bfloat16" or "float32".
        label_smoothing: see `smoothed_loss`.
        pool: threads to run on, each computing on its own.
    """

    def __init__(
        self,
        net: MnistNet,
        count: int,
        *,
        precision: str,
        label_smoothing: float,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.net, self.pool = net, pool
        self.precision, self.label_smoothing = precision, label_smoothing
        self.replicas = [_replica_of(net) for _ in range(count)]

    def gradients(self, images: Tensor, labels: Tensor) -> Share:
        """Put the gradients of a batch's mean loss on the network's parameters.

        Args:
            images: uint8 (B, 28, 28).
            labels: int64 (B,).
        """
        shares = zip(
            self.replicas,
            images.chunk(len(self.replicas)),
            labels.chunk(len(self.replicas)),
            [len(images)] * len(self.replicas),
            strict=False,  # a small last batch may not have a share for each
        )
        results = list(self.pool.map(lambda share: self._backward(*share), shares))
        for parameter, *copies in zip(
            self.net.parameters(), *(r.parameters() for r in self.replicas), strict=True
        ):
            grads = [c.grad for c in copies if c.grad is not None]
            parameter.grad = sum(grads[1:], grads[0])
        return Share(sum(r.loss for r in results), sum(r.correct for r in results))  # type: ignore[arg-type]

    def _backward(self, replica: MnistNet, images: Tensor, labels: Tensor, batch: int) -> Share:
        replica.zero_grad()
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        ):
            x = normalise(images).to(memory_format=torch.channels_last)
            log_probabilities = replica(x)
        loss = smoothed_loss(log_probabilities, labels, self.label_smoothing)
        loss = loss * (len(images) / batch)
        torch.autograd.backward(loss)
        return Share(loss.detach(), (log_probabilities.detach().argmax(1) == labels).sum())

    def share_statistics(self) -> None:
        """Give the network, and every replica, the mean of the replicas' BatchNorm statistics."""
        buffers = [list(net.buffers()) for net in (self.net, *self.replicas)]
        for shared, *own in zip(*buffers, strict=True):
            mean = torch.stack(own).double().mean(0)
            for buffer in (shared, *own):
                buffer.copy_(mean)


@contextmanager
def replicating(
    net: MnistNet, *, threads: int, precision: str, label_smoothing: float
) -> Iterator[Replicas]:
    """Run a network's training on a number of threads, each of which computes on its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
            yield Replicas(
                net, threads, precision=precision, label_smoothing=label_smoothing, pool=pool
            )
    finally:
        torch.set_num_threads(before)


def smoothed_loss(log_probabilities: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy against targets of which a share is spread evenly (Szegedy et al. 2016).

    Args:
        log_probabilities: (N, 10).
        labels: int64 (N,).
        smoothing: the share, 0–1.

    Returns:
        A scalar, in nats, the mean over the batch.
    """
    true_class = F.nll_loss(log_probabilities, labels)
    return (1 - smoothing) * true_class - smoothing * log_probabilities.mean()


def _replica_of(net: MnistNet) -> MnistNet:
    """Copy a network, but for its weights: those are shared, not copied."""
    replica = copy.deepcopy(net).train()
    for own, shared in zip(replica.parameters(), net.parameters(), strict=True):
        own.data = shared.data
    for layer in replica.modules():
        if isinstance(layer, nn.Conv2d):
            layer.forward = _quick_forward(layer)  # type: ignore[method-assign]
    return replica


def _quick_forward(layer: nn.Conv2d):  # type: ignore[no-untyped-def]
    def forward(x: Tensor) -> Tensor:
        return convolve(x, layer.weight, layer.bias)

    return forward
