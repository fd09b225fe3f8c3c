"""SOAP: Adam, run in the eigenbasis of the gradients' covariance.

After Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam". A layer's gradient
G (outputs × inputs) is rotated into the eigenvectors of the running means of G Gᵀ and Gᵀ G, Adam
takes its step there, and the step is rotated back. In these coordinates the directions are nearly
independent, which is what Adam's division, direction by direction, takes for granted; so each
step goes further. For this network's small matrices the rotations cost next to nothing.

Vectors (biases, BatchNorm) take Adam's step as they are. Weight decay is decoupled, as in AdamW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mnistnet.training.recipe import Recipe

EPSILON = 1e-8  # keeps the division finite
REFRESH_EVERY = 10  # steps between two looks at the eigenvectors; they turn slowly


def make_optimiser(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the optimiser that a recipe names, for all of a network's parameters."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim == 1]
    return Soap(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        beta1=recipe.beta1,
        beta2=recipe.beta2,
    )


def schedule(optimiser: torch.optim.Optimizer, recipe: Recipe, *, done: float) -> None:
    """Set the learning rate: up in a line over the warm-up, then down in a line to nothing.

    Args:
        optimiser: whose rate to set.
        recipe: gives the highest rate and the warm-up's length.
        done: the fraction of the whole run that is done, 0–1.
    """
    rising = done / recipe.warmup if recipe.warmup else 1.0
    falling = (1 - done) / (1 - recipe.warmup) if recipe.warmup < 1 else 1.0
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * min(rising, falling)


class Soap(torch.optim.Optimizer):
    """Adam in the eigenbasis of the gradients' covariance.

    Args:
        groups: parameter groups, each with its own `weight_decay`.
        lr: learning rate.
        beta1: decay of the running mean of gradients.
        beta2: decay of the running means of squared gradients and of their covariances.
    """

    def __init__(self, groups: Any, *, lr: float, beta1: float, beta2: float) -> None:
        super().__init__(groups, {"lr": lr, "beta1": beta1, "beta2": beta2, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step with the gradients that lie on the parameters."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad.flatten(1) if parameter.ndim > 1 else parameter.grad
                gradient = gradient.contiguous()
                step = self._preconditioned(self.state[parameter], gradient, group)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(step.view_as(parameter), alpha=-group["lr"])

    def _preconditioned(self, state: dict[str, Tensor], gradient: Tensor, group: Any) -> Tensor:
        """Give Adam's step for a gradient, taken in the eigenbasis if it is a matrix."""
        beta1, beta2 = group["beta1"], group["beta2"]
        if not state:
            _begin(state, gradient)
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - beta1)
        rotated = _into_basis(state, gradient)
        state["square"].mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        steps = int(state["step"])
        mean = _into_basis(state, state["mean"]) / (1 - beta1**steps)
        deviation = (state["square"] / (1 - beta2**steps)).sqrt_().add_(EPSILON)
        step = _out_of_basis(state, mean / deviation)
        if "left" in state:
            _watch_covariance(state, gradient, beta2, refresh=steps % REFRESH_EVERY == 0)
        return step


def _begin(state: dict[str, Tensor], gradient: Tensor) -> None:
    """Lay out the state: Adam's moments, and for a matrix both covariances with their bases."""
    state["step"] = torch.zeros(())
    state["mean"] = torch.zeros_like(gradient)
    state["square"] = torch.zeros_like(gradient)
    if gradient.ndim > 1:
        state["left"], state["right"] = gradient @ gradient.T, gradient.T @ gradient
        for side in ("left", "right"):
            state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1].contiguous()


def _into_basis(state: dict[str, Tensor], x: Tensor) -> Tensor:
    return state["left_basis"].T @ x @ state["right_basis"] if "left" in state else x


def _out_of_basis(state: dict[str, Tensor], x: Tensor) -> Tensor:
    return state["left_basis"] @ x @ state["right_basis"].T if "left" in state else x


def _watch_covariance(
    state: dict[str, Tensor], gradient: Tensor, beta2: float, *, refresh: bool
) -> None:
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
