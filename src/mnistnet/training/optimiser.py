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

from mnistnet.training.threads import side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import ThreadPoolExecutor

    from torch import nn

    from mnistnet.training.compiled import CompiledStep
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
        compiled: what takes a matrix's step, if not torch's operations.
    """

    def __init__(self, net: nn.Module, recipe: Recipe, compiled: CompiledStep | None) -> None:
        self.matrices = [p for p in net.parameters() if p.ndim > 1]
        self.vectors: list[Tensor] = [p for p in net.parameters() if p.ndim == 1]
        self.recipe, self.compiled = recipe, compiled
        self.steps = 0
        self.states: list[State] = [{} for _ in range(len(self.matrices) + 1)]

    def step(self, rate: float, pool: ThreadPoolExecutor) -> None:
        """Take one step with the gradients that lie on the parameters.

        Args:
            rate: the learning rate.
            pool: threads to share the matrices with: the largest is as much work as the others.
        """
        self.steps += 1
        sizes = [p.numel() for p in self.matrices]
        largest = sizes.index(max(sizes))

        def others() -> None:
            for index in range(len(self.matrices)):
                if index != largest:
                    self._step_with_matrix(index, rate)
            self._step_with_vectors(rate)

        # The many small calls are this thread's: to wake another takes as long as some of them.
        side_by_side(pool, [lambda: self._step_with_matrix(largest, rate), others])

    @torch.no_grad()
    def _step_with_matrix(self, index: int, rate: float) -> None:
        """Take Adam's step in the eigenbasis, and follow the covariances with it."""
        parameter, state = self.matrices[index], self.states[index]
        gradient = _gradient(parameter).flatten(1).contiguous()
        if not state:
            state |= _first_state(gradient)
        take_step = self._take_compiled_step if self.compiled else self._take_step
        take_step(parameter, gradient, state, rate, 1 - rate * self.recipe.weight_decay)
        if self.steps % REFRESH_EVERY == 0:
            _turn_bases(state)

    def _take_step(
        self, parameter: Tensor, gradient: Tensor, state: State, rate: float, decay: float
    ) -> None:
        beta1, beta2 = self.recipe.beta1, self.recipe.beta2
        rotated = _into_basis(state, gradient)
        mean = _into_basis(state, state["mean"].lerp_(gradient, 1 - beta1))
        step = _out_of_basis(state, self._adam(state, rotated, mean))
        parameter.mul_(decay).add_(step.view_as(parameter), alpha=-rate)
        state["left"].lerp_(gradient @ gradient.T, 1 - beta2)
        state["right"].lerp_(gradient.T @ gradient, 1 - beta2)

    def _take_compiled_step(
        self, parameter: Tensor, gradient: Tensor, state: State, rate: float, decay: float
    ) -> None:
        assert self.compiled is not None
        mean_weight, square_weight = self._weights()
        self.compiled.take_step(
            {"parameter": parameter, "gradient": gradient, **state},
            beta1=self.recipe.beta1,
            beta2=self.recipe.beta2,
            mean_weight=mean_weight,
            square_weight=square_weight,
            rate=rate,
            decay=decay,
        )

    @torch.no_grad()
    def _step_with_vectors(self, rate: float) -> None:
        """Take Adam's step with all of them as one: quicker."""
        gradient, state = torch.cat([_gradient(p) for p in self.vectors]), self.states[-1]
        if not state:
            state |= {"mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
        mean = state["mean"].lerp_(gradient, 1 - self.recipe.beta1)
        steps = torch.split(self._adam(state, gradient, mean), [p.numel() for p in self.vectors])
        torch._foreach_add_(self.vectors, steps, alpha=-rate)  # in one call: quicker

    def _adam(self, state: State, gradient: Tensor, mean: Tensor) -> Tensor:
        """Give Adam's step: the mean over the deviation, both as if their memory were full."""
        mean_weight, square_weight = self._weights()
        beta2 = self.recipe.beta2
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        return mean * mean_weight / (state["square"] * square_weight).sqrt_().add_(EPSILON)

    def _weights(self) -> tuple[float, float]:
        """Give by what the means of gradients and of squares are too small, being young."""
        return 1 / (1 - self.recipe.beta1**self.steps), 1 / (1 - self.recipe.beta2**self.steps)

    def state_dict(self) -> dict[str, Tensor]:
        """Give all that the next step depends on, beside the parameters."""
        tensors = {
            f"{index}/{name}": state[name]
            for index, (state, shapes) in enumerate(zip(self.states, self._shapes(), strict=True))
            for name in shapes
        }
        return {"steps": torch.tensor(self.steps), **tensors}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a state over. Raises KeyError or ValueError if it is not one of this network."""
        states = [
            {name: _shaped(tensors[f"{index}/{name}"], shape) for name, shape in shapes.items()}
            for index, shapes in enumerate(self._shapes())
        ]
        for state in states[:-1]:  # the last is the vectors'
            state["right_turned"] = _turned(state)
        steps = int(tensors["steps"])
        if steps < 1:
            raise ValueError(f"{steps} steps were taken")
        self.steps, self.states = steps, states

    def _shapes(self) -> list[dict[str, tuple[int, ...]]]:
        """Give the shapes of each matrix's state, and of that of all vectors; no derived ones."""
        shapes: list[dict[str, tuple[int, ...]]] = []
        for matrix in self.matrices:
            rows, columns = matrix.flatten(1).shape
            whole, left, right = (rows, columns), (rows, rows), (columns, columns)
            of_matrix = {"mean": whole, "square": whole, "left": left, "right": right}
            shapes.append({**of_matrix, "left_basis": left, "right_basis": right})
        together = sum(vector.numel() for vector in self.vectors)
        return [*shapes, {"mean": (together,), "square": (together,)}]


def _shaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Let a tensor through that is what C++ will take it for."""
    if tensor.shape != shape or tensor.dtype != torch.float32:
        raise ValueError(f"{tuple(tensor.shape)} of {tensor.dtype} instead of {shape} of float32")
    return tensor.contiguous()


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _first_state(gradient: Tensor) -> State:
    """Lay out a matrix's state: Adam's moments, both covariances and their bases."""
    state = {"mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
    state["left"], state["right"] = gradient @ gradient.T, gradient.T @ gradient
    for side in ("left", "right"):
        state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1].contiguous()
    state["right_turned"] = _turned(state)
    return state


def _into_basis(state: State, x: Tensor) -> Tensor:
    return state["left_basis"].T @ x @ state["right_basis"]


def _out_of_basis(state: State, x: Tensor) -> Tensor:
    return state["left_basis"] @ x @ state["right_turned"]


def _turn_bases(state: State) -> None:
    """Turn the bases after the covariances, now and then.

    One step of orthogonal iteration (a product and a QR) follows slowly turning eigenvectors at
    a fraction of an eigendecomposition's cost.
    """
    for side in ("left", "right"):
        turned = torch.linalg.qr(state[side] @ state[f"{side}_basis"])[0]
        state[f"{side}_basis"] = turned.contiguous()  # as a checkpoint gives it back
    state["right_turned"] = _turned(state)


def _turned(state: State) -> Tensor:
    return state["right_basis"].T.contiguous()
