"""Train in plain PyTorch, on a processor, CUDA or MPS alike: the reference for the native engine.

The optimiser is SOAP, after Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam":
Adam in the eigenbasis of the gradients' covariance. A matrix's gradient G (outputs × inputs) is
rotated into the eigenbases of the running means of G Gᵀ and Gᵀ G, Adam takes its step there, and
the step is rotated back. In these coordinates the directions are nearly independent, as Adam's
element-wise division assumes, so that each step makes more progress. Momentum is Nesterov's (Dozat
2016, "Incorporating Nesterov Momentum into Adam"). Vectors (biases, BatchNorms) take the same step
unrotated. Weight decay is decoupled, as in AdamW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from mnistnet.errors import RecipeError
from mnistnet.model.network import MnistNet, normalise
from mnistnet.training.engine import EPSILON, REFRESH_EVERY, Chunk, Environment, Trained
from mnistnet.training.state import matrices, views
from mnistnet.training.torch_augmentation import augment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from mnistnet.training.draws import Draws
    from mnistnet.training.recipe import Recipe
    from mnistnet.training.state import State

    Floats = NDArray[np.float32]

PREDICTED = 500  # images a call; enough for speed, few enough for the cache


class Torch:
    """The engine that computes with PyTorch. See `Engine`.

    Raises:
        RecipeError: the recipe's device is not there.
    """

    def __init__(self, recipe: Recipe, threads: int, why: str = "") -> None:
        self.device = _device(recipe.device)
        self.why = why
        torch.set_num_threads(threads)
        self.environment = Environment(
            device=self.device.type,
            engine="torch",
            precision=_precision(recipe.precision, self.device),
            threads=threads,
            instruction_set=torch.backends.cpu.get_cpu_capability(),
        )

    def augment(self, images: NDArray[np.uint8], draws: Draws) -> NDArray[np.uint8]:
        """See `Engine`."""
        return augment(self._on_device(images), draws).cpu().numpy()

    def gradients(self, state: State, chunk: Chunk) -> Floats:
        """See `Engine`."""
        net = network(self._on_device(state.weights))
        loss, _ = self._loss(net, chunk, 0, self._networks(chunk.teachers))
        return torch.cat([g.flatten() for g in _gradients(net, loss).values()]).cpu().numpy()

    def train(self, state: State, chunk: Chunk) -> Trained:
        """See `Engine`."""
        values = self._on_device(state.values)
        net, parts = network(values), views(values)
        teachers = self._networks(chunk.teachers)
        results = []
        for batch, rate in enumerate(chunk.rates.tolist()):
            loss, result = self._loss(net, chunk, batch, teachers)
            state.steps += 1
            take_step(parts, _gradients(net, loss), chunk.recipe, state.steps, rate)
            results.append(result)
        state.values[:] = values.cpu().numpy()
        losses, corrects = torch.stack(results).T.tolist()
        return Trained(losses, [int(c) for c in corrects])

    def probabilities(self, weights: Floats, images: NDArray[np.uint8]) -> Floats:
        """See `Engine`."""
        return predict(network(self._on_device(weights)).eval(), images)

    def _loss(
        self, net: MnistNet, chunk: Chunk, batch: int, teachers: list[MnistNet]
    ) -> tuple[Tensor, Tensor]:
        """Compute a batch's loss to be minimised; and its mean loss and correct predictions, (2,).

        The former counts the images of the largest loss alone; the derivatives of the others' maps
        are zero.
        """
        size = chunk.recipe.batch_size
        start, stop = batch * size, (batch + 1) * size
        draws = chunk.draws.part(start, stop)
        images = augment(self._on_device(chunk.images[start:stop]), draws)
        targets = self._on_device(chunk.targets[start:stop])
        has_class = self._on_device(chunk.has_class[start:stop])
        dropout = None if draws.dropout is None else self._on_device(draws.dropout)
        bfloat16 = self.environment.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            kept = torch.zeros(size, device=self.device)
            log_probabilities = forward(net, images, dropout, kept)
            if teachers:
                targets = soft_targets(teachers, images, chunk.recipe.temperature)
        losses = F.cross_entropy(log_probabilities, targets, reduction="none")
        kept[losses.topk(max(1, round(size * chunk.recipe.hardest))).indices] = 1
        correct = (has_class & (log_probabilities.argmax(1) == targets.argmax(1))).sum()
        return (losses * kept).sum() / size, torch.stack([losses.detach().mean(), correct])

    def _networks(self, teachers: Floats) -> list[MnistNet]:
        return [network(self._on_device(weights)).eval() for weights in teachers]

    def _on_device(self, array: NDArray[Any]) -> Tensor:
        return torch.tensor(array, device=self.device)


def network(values: Tensor) -> MnistNet:
    """Return a network whose parameters and statistics are views of a flat tensor."""
    net, parts = MnistNet().to(values.device), views(values)
    tensors = {name: parts.get(name, own) for name, own in net.state_dict().items()}
    net.load_state_dict(tensors, assign=True)
    return net.requires_grad_().train()


def forward(
    net: MnistNet, images: Tensor, dropout: Tensor | None = None, kept: Tensor | None = None
) -> Tensor:
    """Compute log-probabilities (B, 10) of images, uint8 (B, 28, 28).

    Args:
        net: the network.
        images: the images.
        dropout: (B, channels), the factor on each channel of the last map.
        kept: (B,), the factor on the derivatives of each image's maps, at every BatchNorm; it
            is read in the backward pass.
    """

    def only_kept(gradient: Tensor) -> Tensor:
        assert kept is not None
        return gradient * kept.to(gradient)[:, None, None, None]

    x = normalise(images).to(memory_format=torch.channels_last)  # convolutions run faster so
    for layer in list(net.features)[:-2]:  # Dropout2d and Flatten follow
        if kept is not None and x.requires_grad and isinstance(layer, nn.BatchNorm2d):
            x.register_hook(only_kept)  # type: ignore[no-untyped-call]
        x = layer(x)
    if dropout is not None:  # x: (B, 32, 2, 2)
        x = x * dropout[:, :, None, None]
    return F.log_softmax(net.classifier(x.flatten(1)).float(), 1)


def _gradients(net: MnistNet, loss: Tensor) -> dict[str, Tensor]:
    """Return the gradient of each parameter by name."""
    parameters = dict(net.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


@torch.no_grad()
def soft_targets(teachers: list[MnistNet], images: Tensor, temperature: float) -> Tensor:
    """Return the normalised geometric mean of the networks' softened probabilities, (B, 10).

    They hold more than the label: how much a picture resembles each of the other nine digits
    (Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network").
    """
    logs = torch.stack([forward(net, images) for net in teachers])
    return (logs.mean(0) / temperature).softmax(1)


@torch.inference_mode()
def predict(net: MnistNet, images: NDArray[np.uint8]) -> Floats:
    """Compute a network's probabilities in float32: uint8 (N, 28, 28) → (N, 10)."""
    device = next(net.parameters()).device
    starts = range(0, len(images), PREDICTED)
    parts = (torch.tensor(images[i : i + PREDICTED], device=device) for i in starts)
    none = torch.empty(0, 10, device=device)  # where there are no images
    return torch.cat([none, *(forward(net, part).exp() for part in parts)]).cpu().numpy()


# ---- the optimiser


@torch.no_grad()
def take_step(
    parts: dict[str, Tensor], gradients: dict[str, Tensor], recipe: Recipe, step: int, rate: float
) -> None:
    """Take SOAP's step number `step`, from 1, in place.

    The recipe's beta1 is the decay of the gradients' mean, beta2 that of their squares' and
    covariances' means.
    """

    def direction(name: str, gradient: Tensor, mean: Tensor) -> Tensor:
        # Mean over root mean square, both corrected for their start at zero; the mean as it would
        # be after one more such gradient.
        square = parts[f"{name}/square"].mul_(recipe.beta2)
        square.addcmul_(gradient, gradient, value=1 - recipe.beta2)
        deviation = (square / (1 - recipe.beta2**step)).sqrt_().add_(EPSILON)
        ahead = mean.lerp(gradient, 1 - recipe.beta1)
        return ahead / (1 - recipe.beta1 ** (step + 1)) / deviation

    for name in matrices():
        parameter, g = parts[name], gradients[name].flatten(1)
        left, right = parts[f"{name}/left_basis"], parts[f"{name}/right_basis"]
        mean = parts[f"{name}/mean"].lerp_(g, 1 - recipe.beta1)
        rotated = direction(name, left.T @ g @ right, left.T @ mean @ right)
        towards = left @ rotated @ right.T
        parameter.mul_(1 - rate * recipe.weight_decay).sub_(towards.view_as(parameter), alpha=rate)
        parts[f"{name}/left"].lerp_(g @ g.T, 1 - recipe.beta2)
        parts[f"{name}/right"].lerp_(g.T @ g, 1 - recipe.beta2)
        if step % REFRESH_EVERY == 0:
            _update_bases(parts, name)
    vectors = [name for name, gradient in gradients.items() if gradient.ndim == 1]
    g = torch.cat([gradients[name] for name in vectors])
    towards = direction("vectors", g, parts["vectors/mean"].lerp_(g, 1 - recipe.beta1))
    lengths = [len(parts[name]) for name in vectors]
    for name, part in zip(vectors, torch.split(towards, lengths), strict=True):
        parts[name].sub_(part, alpha=rate)


def _update_bases(parts: dict[str, Tensor], name: str) -> None:
    """Let the eigenbases follow by a step of orthogonal iteration (a product and a QR)."""
    for side in ("left", "right"):
        basis = parts[f"{name}/{side}_basis"]
        product = parts[f"{name}/{side}"] @ basis
        basis.copy_(torch.linalg.qr(product.cpu())[0])  # MPS has no QR; for CUDA it is too small


# ---- the machine


def _device(name: str) -> torch.device:
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((d for d, there in present.items() if there), "cpu"))
    if not present.get(name, True):
        raise RecipeError(f"device is {name}, but there is none here; use device=auto or cpu")
    return torch.device(name)


def _precision(name: str, device: torch.device) -> str:
    """Resolve `auto`: bfloat16 where the device has instructions for it; emulated, it is slow."""
    if name != "auto":
        return name
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        features = torch.cpu.get_capabilities() if device.type == "cpu" else {}
        fast = any(features.get(f"{kind}_bf16", False) for kind in ("avx512", "amx", "arm"))
    return "bfloat16" if fast else "float32"
