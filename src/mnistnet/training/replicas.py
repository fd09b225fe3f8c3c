"""Data parallelism over threads: each replica of the network takes its share of every batch.

    with replicating(net, hardware) as replicas:
        share = replicas.gradients(images, targets)    # now in the .grad of net's parameters

A batch of this network is too little work to split every layer over two cores: synchronising a
hundred times a step, they are hardly faster than one. Two replicas with half a batch each
synchronise once a step, and are nearly twice as fast. All share the same weights; each has its
own gradients and BatchNorm statistics, which are added and averaged in a fixed order, so that a
run repeats to the bit.

There are two kinds: of torch's own layers, for any device, and of the compiled step.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from mnistnet.model.network import MnistNet, normalise
from mnistnet.training.compiled import compiled_step, statistics_of
from mnistnet.training.convolution import convolve
from mnistnet.training.hardware import run_parallel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from mnistnet.training.hardware import Hardware


class Share(NamedTuple):
    """Loss and accuracy of one replica's share of a batch, or of the whole batch."""

    loss: float  # this share's part of the batch's mean
    correct: int  # how many were classified correctly


class Replicas(Protocol):
    """A network's replicas and the threads that run them.

    Attributes:
        pool: the threads; each computes with one processor thread.
    """

    pool: ThreadPoolExecutor

    def gradients(self, images: Tensor, targets: Tensor) -> Share:
        """Compute the gradients of a batch's mean loss, into the `.grad` of the parameters.

        Args:
            images: uint8 (B, 28, 28).
            targets: float32 (B, 10), probabilities.
        """

    def average_statistics(self) -> None:
        """Set the BatchNorm statistics of network and replicas to the mean over the replicas."""


@contextmanager
def replicating(net: MnistNet, hardware: Hardware) -> Iterator[Replicas]:
    """Replicate a network for training, one replica a thread.

    Args:
        net: its weights are shared by all replicas; it receives the sum of their gradients.
        hardware: how many replicas, of which kind, in which precision.
    """
    count = hardware.threads if hardware.device.type == "cpu" else 1
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count, initializer=lambda: torch.set_num_threads(1)) as pool:
            if hardware.engine == "compiled":
                yield CompiledReplicas(net, count, pool, hardware.precision)
            else:
                yield TorchReplicas(net, count, pool, hardware.precision)
    finally:
        torch.set_num_threads(before)


class CompiledReplicas:
    """Replicas that run the compiled step."""

    def __init__(
        self,
        net: MnistNet,
        count: int,
        pool: ThreadPoolExecutor,
        precision: str,
    ) -> None:
        step = compiled_step(precision)
        assert step is not None  # `resolve` has checked that
        self.net, self.step, self.pool = net, step, pool
        self.parameters = _flatten(list(net.parameters()))
        self.sum = torch.zeros_like(self.parameters)
        for parameter, part in _parts(self.sum, list(net.parameters())):
            parameter.grad = part.view_as(parameter)  # a view: written by every step
        self.own = [torch.zeros_like(self.parameters) for _ in range(count)]
        statistics = torch.cat([b.flatten() for b in statistics_of(net)])
        self.statistics = [statistics.clone() for _ in range(count)]
        self.workspaces: list[Tensor] = []
        self.capacity = 0  # pictures that a workspace is large enough for
        self.steps = 0  # not yet added to BatchNorm's num_batches_tracked

    def gradients(self, images: Tensor, targets: Tensor) -> Share:
        """See `Replicas`."""
        shares = _shares(images, targets, len(self.own))
        if len(shares[0][0]) > self.capacity:  # the first share is the largest
            self.capacity = len(shares[0][0])
            self.workspaces = [self.step.workspace(self.capacity) for _ in self.own]
        weight = 1 / len(images)
        results = run_parallel(
            self.pool,
            [partial(self._backward, i, *share, weight) for i, share in enumerate(shares)],
        )
        torch.sum(torch.stack(self.own[: len(shares)]), 0, out=self.sum)
        self.steps += 1
        return _total(results)

    def _backward(self, replica: int, images: Tensor, targets: Tensor, weight: float) -> Share:
        loss, correct = self.step.gradients(
            self.parameters,
            self.own[replica],
            self.statistics[replica],
            images,
            targets,
            self.workspaces[replica],
            weight=weight,
        )
        return Share(loss, correct)

    def average_statistics(self) -> None:
        """See `Replicas`."""
        mean = torch.stack(self.statistics).double().mean(0).float()
        for own in self.statistics:
            own.copy_(mean)
        for buffer, part in _parts(mean, statistics_of(self.net)):
            buffer.copy_(part)
        for layer in self.net.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.num_batches_tracked is not None:
                layer.num_batches_tracked += self.steps
        self.steps = 0


class TorchReplicas:
    """Replicas of torch's own layers."""

    def __init__(
        self,
        net: MnistNet,
        count: int,
        pool: ThreadPoolExecutor,
        precision: str,
    ) -> None:
        self.net, self.pool = net, pool
        self.precision = precision
        self.replicas = [_replica_of(net) for _ in range(count)]

    def gradients(self, images: Tensor, targets: Tensor) -> Share:
        """See `Replicas`."""
        shares = _shares(images, targets, len(self.replicas))
        results = run_parallel(
            self.pool,
            [partial(self._backward, i, *share, len(images)) for i, share in enumerate(shares)],
        )
        for parameter, *copies in zip(
            self.net.parameters(), *(r.parameters() for r in self.replicas), strict=True
        ):
            grads = [c.grad for c in copies if c.grad is not None]
            parameter.grad = sum(grads[1:], grads[0])
        return _total(results)

    def _backward(self, number: int, images: Tensor, targets: Tensor, batch: int) -> Share:
        replica = self.replicas[number]
        replica.zero_grad()
        with torch.autocast(
            images.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        ):
            x = normalise(images).to(memory_format=torch.channels_last)
            log_probabilities = replica(x)
        loss = F.cross_entropy(log_probabilities, targets) * (len(images) / batch)
        torch.autograd.backward(loss)
        correct = (log_probabilities.detach().argmax(1) == targets.argmax(1)).sum()
        return Share(float(loss.detach()), int(correct))

    def average_statistics(self) -> None:
        """See `Replicas`."""
        buffers = [list(net.buffers()) for net in (self.net, *self.replicas)]
        for shared, *own in zip(*buffers, strict=True):
            mean = torch.stack(own).double().mean(0)
            for buffer in (shared, *own):
                buffer.copy_(mean)


def _replica_of(net: MnistNet) -> MnistNet:
    """Copy a network except for its weights, which are shared."""
    replica = copy.deepcopy(net).train()
    for own, shared in zip(replica.parameters(), net.parameters(), strict=True):
        own.data = shared.data
    for layer in replica.modules():
        if isinstance(layer, nn.Conv2d):
            layer.forward = _fast_forward(layer)  # type: ignore[method-assign]
    return replica


def _fast_forward(layer: nn.Conv2d):  # type: ignore[no-untyped-def]
    def forward(x: Tensor) -> Tensor:
        return convolve(x, layer.weight, layer.bias)

    return forward


def _shares(images: Tensor, targets: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """Split a batch in equal parts; a small one may give fewer than `count`."""
    return list(zip(images.chunk(count), targets.chunk(count), strict=True))


def _total(shares: Sequence[Share]) -> Share:
    return Share(sum(s.loss for s in shares), sum(s.correct for s in shares))


def _flatten(parameters: list[nn.Parameter]) -> Tensor:
    """Make the parameters views of one flat tensor, and return that."""
    whole = torch.cat([p.detach().flatten() for p in parameters])
    for parameter, part in _parts(whole, parameters):
        parameter.data = part.view_as(parameter)
    return whole


def _parts(whole: Tensor, tensors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Pair tensors with the slices of a flat one that holds them all, in order."""
    parts = torch.split(whole, [t.numel() for t in tensors])
    return list(zip(tensors, parts, strict=True))
