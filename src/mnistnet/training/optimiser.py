"""SOAP: Adam in the eigenbasis of the gradients' covariance.

After Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam". A layer's gradient
G (outputs × inputs) is rotated into the eigenbases of the running means of G Gᵀ and Gᵀ G, Adam
takes its step there, and the step is rotated back. In these coordinates the directions are nearly
independent, as Adam's element-wise division assumes, so each step makes more progress. For this
network's small matrices the rotations cost next to nothing.

Vectors (biases, BatchNorm) take Adam's step unrotated. Weight decay is decoupled, as in AdamW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mnistnet.training.hardware import run_parallel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import ThreadPoolExecutor

    from torch import nn

    from mnistnet.training.compiled import CompiledStep
    from mnistnet.training.recipe import Recipe

State = dict[str, Tensor]  # of one matrix, or of all vectors together

EPSILON = 1e-8  # keeps the division finite
REFRESH_EVERY = 10  # steps between two updates of the eigenvectors, which change slowly


def learning_rate(recipe: Recipe, *, done: float) -> float:
    """Return the learning rate: linear warm-up from 0, then linear decay to 0.

    Args:
        recipe: the highest rate and the warm-up's length.
        done: the fraction of the whole run that is done, 0–1.
    """
    rising = done / recipe.warmup if recipe.warmup else 1.0
    falling = (1 - done) / (1 - recipe.warmup) if recipe.warmup < 1 else 1.0
    return recipe.learning_rate * min(rising, falling)


class Soap:
    """Adam in the eigenbasis of the gradients' covariance.

    Not a `torch.optim.Optimizer`: creating the first of those imports torch's compiler, which
    alone takes a second.

    Args:
        net: its parameters are trained.
        recipe: the decays of the gradients' mean (beta1), of their squares' and covariances' means
            (beta2), and of the weights, matrices only.
        compiled: takes a matrix's step in C++; None: torch's operations do.
    """

    def __init__(self, net: nn.Module, recipe: Recipe, compiled: CompiledStep | None) -> None:
        self.matrices = [p for p in net.parameters() if p.ndim > 1]
        self.vectors: list[Tensor] = [p for p in net.parameters() if p.ndim == 1]
        self.recipe, self.compiled = recipe, compiled
        self.steps = 0
        self.states: list[State] = [{} for _ in range(len(self.matrices) + 1)]

    def step(self, rate: float, pool: ThreadPoolExecutor) -> None:
        """Take one step with the parameters' gradients.

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

        # The many small calls stay in this thread: waking another takes as long as some of them.
        run_parallel(pool, [lambda: self._step_with_matrix(largest, rate), others])

    @torch.no_grad()
    def _step_with_matrix(self, index: int, rate: float) -> None:
        """Take Adam's step in the eigenbasis; update the covariances, and sometimes the basis."""
        parameter, state = self.matrices[index], self.states[index]
        gradient = _gradient(parameter).flatten(1).contiguous()
        if not state:
            state |= _first_state(gradient)
        take_step = self._take_compiled_step if self.compiled else self._take_step
        take_step(parameter, gradient, state, rate, 1 - rate * self.recipe.weight_decay)
        if self.steps % REFRESH_EVERY == 0:
            _update_bases(state)

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
        mean_weight, square_weight = self._bias_corrections()
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
        """Take Adam's step with all vectors concatenated, which is faster."""
        gradient, state = torch.cat([_gradient(p) for p in self.vectors]), self.states[-1]
        if not state:
            state |= {"mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
        mean = state["mean"].lerp_(gradient, 1 - self.recipe.beta1)
        steps = torch.split(self._adam(state, gradient, mean), [p.numel() for p in self.vectors])
        torch._foreach_add_(self.vectors, steps, alpha=-rate)  # faster than one by one

    def _adam(self, state: State, gradient: Tensor, mean: Tensor) -> Tensor:
        """Return Adam's direction: mean over root mean square, both bias-corrected."""
        mean_weight, square_weight = self._bias_corrections()
        beta2 = self.recipe.beta2
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        return mean * mean_weight / (state["square"] * square_weight).sqrt_().add_(EPSILON)

    def _bias_corrections(self) -> tuple[float, float]:
        """Return the factors that correct the means of gradients and squares for starting at 0."""
        return 1 / (1 - self.recipe.beta1**self.steps), 1 / (1 - self.recipe.beta2**self.steps)

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything but the parameters that the next step depends on."""
        tensors = {
            f"{index}/{name}": state[name]
            for index, (state, shapes) in enumerate(zip(self.states, self._shapes(), strict=True))
            for name in shapes
        }
        return {"steps": torch.tensor(self.steps), **tensors}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Load a state. Raises KeyError or ValueError if it does not fit this network."""
        states = [
            {name: _checked(tensors[f"{index}/{name}"], shape) for name, shape in shapes.items()}
            for index, shapes in enumerate(self._shapes())
        ]
        for state in states[:-1]:  # the last is the vectors'
            state["right_transposed"] = _transposed_right(state)
        steps = int(tensors["steps"])
        if steps < 1:
            raise ValueError(f"{steps} steps were taken")
        self.steps, self.states = steps, states

    def _shapes(self) -> list[dict[str, tuple[int, ...]]]:
        """Return the shapes of what is saved: each matrix's state, then that of all vectors."""
        shapes: list[dict[str, tuple[int, ...]]] = []
        for matrix in self.matrices:
            rows, columns = matrix.flatten(1).shape
            whole, left, right = (rows, columns), (rows, rows), (columns, columns)
            of_matrix = {"mean": whole, "square": whole, "left": left, "right": right}
            shapes.append({**of_matrix, "left_basis": left, "right_basis": right})
        together = sum(vector.numel() for vector in self.vectors)
        return [*shapes, {"mean": (together,), "square": (together,)}]


def _checked(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor if it has the shape and type that the C++ code assumes."""
    if tensor.shape != shape or tensor.dtype != torch.float32:
        raise ValueError(f"{tuple(tensor.shape)} of {tensor.dtype} instead of {shape} of float32")
    return tensor.contiguous()


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _first_state(gradient: Tensor) -> State:
    """Return a matrix's first state: Adam's moments, both covariances and their eigenbases."""
    state = {"mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
    state["left"], state["right"] = gradient @ gradient.T, gradient.T @ gradient
    for side in ("left", "right"):
        state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1].contiguous()
    state["right_transposed"] = _transposed_right(state)
    return state


def _into_basis(state: State, x: Tensor) -> Tensor:
    return state["left_basis"].T @ x @ state["right_basis"]


def _out_of_basis(state: State, x: Tensor) -> Tensor:
    return state["left_basis"] @ x @ state["right_transposed"]


def _update_bases(state: State) -> None:
    """Update the eigenbases by one step of orthogonal iteration (a product and a QR).

    It tracks slowly changing eigenvectors at a fraction of an eigendecomposition's cost.
    """
    for side in ("left", "right"):
        basis = torch.linalg.qr(state[side] @ state[f"{side}_basis"])[0]
        state[f"{side}_basis"] = basis.contiguous()  # as loaded from a checkpoint
    state["right_transposed"] = _transposed_right(state)


def _transposed_right(state: State) -> Tensor:
    return state["right_basis"].T.contiguous()
