"""Fit what chooses a hypothesis on a picture: `mnistnet.picture`'s weights, priors and cap.

    alone="--recipe release --teachers 0 --label-smoothing 0.05 --validation 10000"
    mnistnet train $alone --seed 0 --name first
    mnistnet train $alone --seed 1 --name second
    python benchmarks/hypotheses.py runs/first runs/second

So the values that ship were fitted; networks trained by distillation give no better ones.

There are eight hypotheses on a picture, and the most probable is kept. Their probabilities are a
conditional logit (McFadden, 1974): log odds of the network's confidence, plus weighted evidence,
plus a prior. The fit maximises the likelihood of the hypotheses that show the right digit, with
several networks (each misreads others), on pictures that vary as real ones do: held-out images,
augmented and photographed; drawn digits; and other people's (`load_digits`). No corruption of the
evaluation's suite is among them: these are for measuring.

Printed are, for each cap on confidence, the errors by five-fold cross-validation and the weights
fitted on all pictures.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from mnistnet import data as datasets
from mnistnet.inference.decoding import to_rgba
from mnistnet.model.network import MnistNet, normalise
from mnistnet.picture import CONFIDENCE_CAP, EVIDENCE_WEIGHTS, LOG_PRIORS, hypotheses
from mnistnet.training.draws import draw, generator_for
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import RELEASE
from mnistnet.training.runs import Run

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "picture"))
from drawing import draw_suite  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from mnistnet.data import Split

    Grey = NDArray[np.uint8]

CAPS = (0.8, 0.9, 0.93, 0.95, 0.97)
FOLDS = 5
STEPS = 200
SHRINKAGE = 1e-4  # keeps weights finite on which the pictures have little influence
# How much a kind of picture counts; by its share of errors, photographs would dominate.
SHARES = {"plain": 2, "augmented": 2, "drawn": 2, "other writers": 4, "photographed": 3}


class Choices(NamedTuple):
    """The hypotheses on pictures of one kind, and which of them show the right digit."""

    picture: Tensor  # int64 (N,): its number; each network chooses for the same pictures
    confidence: Tensor  # float32 (N, 8), of the network in each hypothesis
    evidence: Tensor  # float32 (N, 8, 3)
    right: Tensor  # bool (N, 8)


def main() -> None:
    """Evaluate all hypotheses on all pictures, fit, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="with held-out images (--validation)")
    parser.add_argument("--data", type=Path, help="a data set; searched in the usual places")
    options = parser.parse_args()
    recipes = [Run(run).recipe() for run in options.runs]
    if any(recipe.validation < 10_000 for recipe in recipes):
        parser.error("train each run with --validation 10000")

    pictures = development_pictures(
        datasets.load(options.data, validation=recipes[0].validation).test
    )
    nets = [MnistNet.load(run) for run in options.runs]
    kinds = {kind: choices(nets, *some) for kind, some in pictures.items()}
    print("errors in %:   " + "  ".join(kinds))
    present = torch.tensor([*EVIDENCE_WEIGHTS, *LOG_PRIORS])
    print("as it is:      " + _row(errors(kinds, present, cap) for cap in [CONFIDENCE_CAP]))
    for cap in CAPS:
        folds = range(FOLDS)
        unseen = [
            errors(_fold(kinds, f), fit(_fold(kinds, f, others=True), cap), cap) for f in folds
        ]
        weights = fit(kinds, cap)
        print(f"cap {cap:.2f}: {_row(unseen)}  weights {_numbers(weights)}")


def development_pictures(images: Split) -> dict[str, tuple[Sequence[Grey], NDArray[np.uint8]]]:
    """Return the pictures of each kind with their labels."""
    rng = np.random.default_rng(0)
    x, y = images.images, images.labels
    strong = RELEASE.replacing(noise=1.0, contrast=0.8, blur=0.5, stroke_px=1.2)
    draws = draw(strong, generator_for(0, 0), 1000)
    augmented = engine_for(strong).augment(x[500:1500], draws)
    augmented[::2] = 255 - augmented[::2]
    photographed = [photograph(digit, rng) for digit in x[1500:3000]]
    drawn = [each for seed in range(20, 24) for each in draw_suite(seed)]
    others = load_digits()
    scans = (others.images * (255 / 16)).round().astype(np.uint8)
    return {
        "plain": (list(x[:500]), y[:500]),
        "augmented": (list(augmented), y[500:1500]),
        "photographed": (photographed, y[1500:3000]),
        "drawn": ([d[0] for d in drawn], np.array([d[1] for d in drawn])),
        "other writers": (list(scans), others.target),
    }


def photograph(digit: Grey, rng: np.random.Generator) -> Grey:
    """Photograph a digit: at any size, on any paper, in any light."""
    if rng.random() < 0.5:  # framed otherwise than MNIST frames
        digit = _reframed(digit, rng)
    scale = float(np.exp(rng.uniform(np.log(0.7), np.log(8))))
    height, width = (max(8, round(side * scale)) for side in digit.shape)
    ink = np.asarray(Image.fromarray(digit).resize((width, height), Image.Resampling.BICUBIC)) / 255
    ink = np.maximum(ink, _ruling(ink.shape, scale, rng))
    ink = np.maximum(ink, _dirt(ink.shape, rng))
    paper = rng.uniform(0.45, 1)
    light = paper * (1 - rng.uniform(0.15, 0.95) * ink) * _lighting(ink.shape, rng)
    light = light + rng.normal(0, rng.choice([0, 0.01, 0.03, 0.06]), light.shape)
    if rng.random() < 0.4:  # chalk
        light = 1 - light
    grey = (light.clip(0, 1) * 255).round().astype(np.uint8)
    return _as_jpeg(grey, int(rng.integers(15, 80))) if rng.random() < 0.3 else grey


def _reframed(digit: Grey, rng: np.random.Generator) -> Grey:
    """Cut a digit out, and put it on paper of its own size to several times that."""
    rows, columns = (np.flatnonzero(digit.max(axis) > 60) for axis in (1, 0))
    tight = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    room = rng.choice([0, 0.05, 0.2, 0.6, 1.5], 4) * rng.uniform(0.5, 1, 4) * max(tight.shape)
    top, bottom, left, right = room.astype(int)
    return np.pad(tight, ((top, bottom), (left, right)))


def _ruling(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Rule some papers, with lines or squares: coverage (H, W)."""
    ruled = np.zeros(shape)
    step, width = rng.uniform(5, 14) * scale, max(1.0, rng.uniform(0.3, 1) * scale)
    strength, kind = (
        rng.uniform(0.05, 0.5),
        rng.choice(["none", "lined", "squared"], p=[0.8, 0.1, 0.1]),
    )
    rows, columns = ((np.arange(side) + rng.uniform(0, step)) % step < width for side in shape)
    if kind != "none":
        ruled[rows] = strength
    if kind == "squared":
        ruled[:, columns] = strength
    return ruled


def _dirt(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Put a few specks on some papers: coverage (H, W)."""
    dirt = np.zeros(shape)
    v, u = np.meshgrid(*(np.linspace(0, 1, side) for side in shape), indexing="ij")
    for _ in range(rng.integers(1, 8) if rng.random() < 0.2 else 0):
        radius, x, y = rng.uniform(0.01, 0.05), *rng.uniform(0, 1, 2)
        dirt[(u - x) ** 2 + (v - y) ** 2 < radius**2] = rng.uniform(0.4, 1)
    return dirt


def _lighting(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Light a paper evenly, from a side, with a shadow's edge or a vignette: factors (H, W)."""
    v, u = np.meshgrid(*(np.linspace(-0.5, 0.5, side) for side in shape), indexing="ij")
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
    along = np.cos(angle) * u + np.sin(angle) * v
    edge = (along - rng.uniform(-0.3, 0.3)) * rng.choice([20, 100])
    kinds = [np.zeros(shape), along + 0.5, 1 / (1 + np.exp(-edge)), 2 * (u**2 + v**2)]
    factors: NDArray[np.float64] = 1 - depth * kinds[rng.choice(4, p=[0.4, 0.25, 0.2, 0.15])]
    return factors


def _as_jpeg(grey: Grey, quality: int) -> Grey:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def choices(
    nets: Sequence[MnistNet], pictures: Sequence[Grey], labels: NDArray[np.uint8]
) -> Choices:
    """Return all hypotheses on pictures, evaluated by each network."""
    with torch.inference_mode():
        found = [hypotheses(torch.tensor(to_rgba(picture))) for picture in pictures]
        seen = torch.stack([h.seen for h in found])  # (N, 8, 28, 28)
        answers = torch.cat(
            [net(normalise(seen.flatten(0, 1))).exp().view(*seen.shape[:2], 10) for net in nets]
        )
    picture = torch.arange(len(seen)).repeat(len(nets))
    ink = torch.stack([h.ink for h in found])
    right = answers.argmax(2) == torch.tensor(labels)[picture].view(-1, 1)
    evidence = torch.stack([h.evidence for h in found])
    return Choices(picture, answers.amax(2), evidence[picture], right & ink[picture].view(-1, 1))


def fit(kinds: dict[str, Choices], cap: float) -> Tensor:
    """Return the maximum likelihood estimate of weights and priors: float32 (11,).

    Three weights, and eight priors of which the first is zero. A hypothesis is chosen with a
    probability in proportion to exp(score); the likelihood of a picture is the share of the right
    ones. Pictures that all hypotheses get right, or none, contribute nothing.
    """
    decisive = {k: Choices(*(part[_differ(c)] for part in c)) for k, c in kinds.items()}
    weights = torch.cat([torch.ones(1), torch.zeros(11)]).requires_grad_()  # first, of the network
    optimiser = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def negative_log_likelihood() -> Tensor:
        optimiser.zero_grad()
        loss = SHRINKAGE * weights[1:].square().sum()
        for kind, c in decisive.items():
            score = weights[0] * _log_odds(c, cap) + c.evidence @ weights[1:4] + weights[4:]
            chances = score.masked_fill(~c.right, -torch.inf).logsumexp(1) - score.logsumexp(1)
            share = SHARES[kind] / sum(SHARES.values())
            loss = loss - share * chances.sum() / len(kinds[kind].right)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(negative_log_likelihood)  # type: ignore[no-untyped-call]
    found = weights.detach()
    found[4:] -= found[4].clone()
    return (found[1:] / found[0]).mul(10).round().div(10)


def errors(kinds: dict[str, Choices], weights: Tensor, cap: float) -> list[float]:
    """Return the share of pictures of each kind whose chosen hypothesis is wrong."""
    chosen = {
        kind: (_log_odds(c, cap) + c.evidence @ weights[:3] + weights[3:]).argmax(1, keepdim=True)
        for kind, c in kinds.items()
    }
    return [1 - float(c.right.gather(1, chosen[kind]).float().mean()) for kind, c in kinds.items()]


def _log_odds(c: Choices, cap: float) -> Tensor:
    return c.confidence.clamp(1e-6, cap).logit()


def _differ(c: Choices) -> Tensor:
    return c.right.any(1) & ~c.right.all(1)


def _fold(kinds: dict[str, Choices], fold: int, *, others: bool = False) -> dict[str, Choices]:
    """Keep every fifth picture of each kind, or the others."""
    return {
        kind: Choices(*(part[(c.picture % FOLDS == fold) != others] for part in c))
        for kind, c in kinds.items()
    }


def _row(of: object) -> str:
    return "  ".join(f"{error:6.2%}" for error in np.mean(list(of), axis=0))  # type: ignore[call-overload]


def _numbers(weights: Tensor) -> str:
    return " ".join(f"{w:.1f}" for w in weights.tolist())


if __name__ == "__main__":
    main()
