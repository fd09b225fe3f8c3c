"""SOAP: Adam, run in the eigenbasis of the gradients' covariance.

After Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam". A layer's gradient
G (outputs × inputs) is rotated into the eigenvectors of the running means of G Gᵀ and Gᵀ G, Adam
takes its step there, and the step is rotated back. In these coordinates the directions are nearly
independent, which is what Adam's division, direction by direction, takes for granted; so each
step goes further. For this network's small matrices the rotations cost next to nothing.

Vectors (biases, BatchNorm) take Adam's step as they are. Weight decay is decoupled, as in AdamW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from torch import nn

    from mnistnet.training.recipe import Recipe

State = dict[str, Tensor]  # of one matrix, or of all vectors together

EPSILON = 1e-8  # keeps the division finite
REFRESH_EVERY = 10  # steps between two looks at the eigenvectors; they turn slowly


def learning_rate(recipe: Recipe, *, done: float) -> float:
    """Give the learning rate: up in a line over the warm-up, then down in a line to nothing.

    Args:
        recipe: gives the highest rate and the warm-up's length.
        done: the fraction of the whole run that is done, 0–1.
    """
    rising = done / recipe.warmup if recipe.warmup else 1.0
    falling = (1 - done) / (1 - recipe.warmup) if recipe.warmup < 1 else 1.0
    return recipe.learning_rate * min(rising, falling)


class Soap:
    """Adam in the eigenbasis of the gradients' covariance.

    Not a `torch.optim.Optimizer`: making the first of those loads torch's compiler, and that
    alone takes a second.

    Args:
        net: whose parameters to train.
        recipe: gives the decays: of the mean of gradients (beta1), of the means of their squares
            and covariances (beta2), and of the weights, from which vectors are spared.
    """

    def __init__(self, net: nn.Module, recipe: Recipe) -> None:
        self.matrices = [p for p in net.parameters() if p.ndim > 1]
        self.vectors = [p for p in net.parameters() if p.ndim == 1]
        self.recipe = recipe
        self.steps = 0
        self.states: list[State] = [{} for _ in range(len(self.matrices) + 1)]

    @torch.no_grad()
    def step(self, rate: float, pool: Executor) -> None:
        """Take one step with the gradients that lie on the parameters.

        Args:
            rate: the learning rate.
            pool: threads that share the matrices.
        """
        self.steps += 1
        decay = 1 - rate * self.recipe.weight_decay
        gradients = [_gradient(p).flatten(1).contiguous() for p in self.matrices]
        gradients.append(torch.cat([_gradient(p) for p in self.vectors]))  # in one go: quicker
        *steps, vectors = pool.map(self._preconditioned, gradients, self.states)
        for parameter, step in zip(self.matrices, steps, strict=True):
            parameter.mul_(decay).add_(step.view_as(parameter), alpha=-rate)
        parts = torch.split(vectors, [p.numel() for p in self.vectors])
        for parameter, step in zip(self.vectors, parts, strict=True):
            parameter.add_(step, alpha=-rate)

    @torch.no_grad()
    def _preconditioned(self, gradient: Tensor, state: State) -> Tensor:
        """Give Adam's step for a gradient, taken in the eigenbasis if it is a matrix."""
        beta1, beta2 = self.recipe.beta1, self.recipe.beta2
        if not state:
            state |= _first_state(gradient)
        state["mean"].lerp_(gradient, 1 - beta1)
        rotated = _into_basis(state, gradient)
        state["square"].mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        mean = _into_basis(state, state["mean"]) / (1 - beta1**self.steps)
        deviation = (state["square"] / (1 - beta2**self.steps)).sqrt_().add_(EPSILON)
        step = _out_of_basis(state, mean / deviation)
        if "left" in state:
            _watch_covariance(state, gradient, beta2, refresh=self.steps % REFRESH_EVERY == 0)
        return step

    def state_dict(self) -> dict[str, Tensor]:
        """Give all that the next step depends on, beside the parameters."""
        tensors = {
            f"{index}/{name}": value
            for index, state in enumerate(self.states)
            for name, value in state.items()
        }
        return {"steps": torch.tensor(self.steps), **tensors}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a state over. Raises KeyError or ValueError if it is not one."""
        self.steps = int(tensors["steps"])
        self.states = [{} for _ in self.states]
        for key, value in tensors.items():
            if key != "steps":
                index, name = key.split("/")
                self.states[int(index)][name] = value


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _first_state(gradient: Tensor) -> State:
    """Lay out the state: Adam's moments, and for a matrix both covariances with their bases."""
    state = {"mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
    if gradient.ndim > 1:
        state["left"], state["right"] = gradient @ gradient.T, gradient.T @ gradient
        for side in ("left", "right"):
            state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1].contiguous()
    return state


def _into_basis(state: State, x: Tensor) -> Tensor:
    return state["left_basis"].T @ x @ state["right_basis"] if "left" in state else x


def _out_of_basis(state: State, x: Tensor) -> Tensor:
    return state["left_basis"] @ x @ state["right_basis"].T if "left" in state else x


def _watch_covariance(state: State, gradient: Tensor, beta2: float, *, refresh: bool) -> None:
    """Update the covariances, and now and then turn the bases after them.

    One step of orthogonal iteration (a product and a QR) follows slowly turning eigenvectors at
    a fraction of an eigendecomposition's cost.
    """
    state["left"].lerp_(gradient @ gradient.T, 1 - beta2)
    state["right"].lerp_(gradient.T @ gradient, 1 - beta2)
    if refresh:
        for side in ("left", "right"):
            turned = torch.linalg.qr(state[side] @ state[f"{side}_basis"])[0]
            state[f"{side}_basis"] = turned.contiguous()  # as a checkpoint gives it back
