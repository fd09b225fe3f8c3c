"""Fit what chooses a hypothesis on a picture: `mnistnet.picture`'s weights, priors and cap.

    alone="--recipe release --teachers 0 --label-smoothing 0.05 --validation 10000"
    mnistnet train $alone --seed 0 --name first
    mnistnet train $alone --seed 1 --name second
    python benchmarks/hypotheses.py runs/first runs/second

So the values that ship were fitted; networks trained by distillation give no better ones.

There are fifteen hypotheses on a picture. The probability of each is a softmax of the weighted log
odds of the network's confidence, plus weighted evidence, plus a prior; that of a digit is the mean
of the network's probabilities, weighted by these: a mixture of experts (Jacobs et al. 1991). The
fit maximises the likelihood of the right digits, with several networks (each misreads others), on
pictures that vary as real ones do: held-out images, augmented and photographed; drawn digits, and
scenes with more in them than a digit; and other people's (`load_digits`). No corruption of the
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
from mnistnet.picture import (
    CONFIDENCE_CAP,
    CONFIDENCE_WEIGHT,
    EVIDENCE_WEIGHTS,
    LOG_PRIORS,
)
from mnistnet.picture.colour import to_brightness
from mnistnet.picture.hypotheses import hypotheses
from mnistnet.training.draws import draw, generator_for
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import RELEASE
from mnistnet.training.runs import Run

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "picture"))
from drawing import draw_suite  # type: ignore[import-not-found]
from scenes import draw_scenes  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from mnistnet.data import Split

    Grey = NDArray[np.uint8]

CAPS = (0.9, 0.95, 0.98, 0.99)
FOLDS = 5
STEPS = 200
SHRINKAGE = 3e-4  # keeps weights finite on which the pictures have little influence
# How much a kind of picture counts, if not 1; by errors, photographs would dominate.
SHARES = {"plain": 2, "augmented": 2, "drawn": 2, "other writers": 4, "photographed": 3}
SCENES_PER_DIGIT = 12


class Answers(NamedTuple):
    """What networks make of the hypotheses on pictures of one kind."""

    picture: Tensor  # int64 (N,): its number; each network chooses for the same pictures
    probabilities: Tensor  # float32 (N, hypotheses, 10)
    evidence: Tensor  # float32 (N, hypotheses, pieces of evidence)
    label: Tensor  # int64 (N,)


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
    kinds = {kind: answers(nets, *some) for kind, some in pictures.items()}
    print("errors in %:   " + "  ".join(kinds))
    present = torch.tensor([CONFIDENCE_WEIGHT, *EVIDENCE_WEIGHTS, *LOG_PRIORS])
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
    scenes: dict[str, list[tuple[Grey, int]]] = {}
    for kind, picture, label in draw_scenes(0, SCENES_PER_DIGIT):
        scenes.setdefault(kind, []).append((picture, label))
    others = load_digits()
    scans = (others.images * (255 / 16)).round().astype(np.uint8)
    return {
        "plain": (list(x[:500]), y[:500]),
        "augmented": (list(augmented), y[500:1500]),
        "photographed": (photographed, y[1500:3000]),
        "drawn": ([d[0] for d in drawn], np.array([d[1] for d in drawn])),
        "other writers": (list(scans), others.target),
        **{k: ([s[0] for s in some], np.array([s[1] for s in some])) for k, some in scenes.items()},
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


def answers(
    nets: Sequence[MnistNet], pictures: Sequence[Grey], labels: NDArray[np.uint8]
) -> Answers:
    """Return all hypotheses on pictures, evaluated by each network."""
    with torch.inference_mode():
        found = [hypotheses(to_brightness(torch.tensor(to_rgba(p)))) for p in pictures]
        seen = torch.stack([h.seen for h in found])  # (N, hypotheses, 28, 28)
        probabilities = torch.cat(
            [net(normalise(seen.flatten(0, 1))).exp().view(*seen.shape[:2], 10) for net in nets]
        )
    picture = torch.arange(len(seen)).repeat(len(nets))
    evidence = torch.stack([h.evidence for h in found])
    return Answers(picture, probabilities, evidence[picture], torch.tensor(labels).long()[picture])


def fit(kinds: dict[str, Answers], cap: float) -> Tensor:
    """Return the weights with the highest likelihood.

    The weight of confidence, those of evidence, and the log priors, of which the first is zero:
    float32 (1 + pieces of evidence + hypotheses).
    """
    evidence = next(iter(kinds.values())).evidence
    scale = torch.cat([a.evidence.flatten(0, 1) for a in kinds.values()]).std(0).clamp_min(1e-3)
    scale = torch.cat([torch.ones(1), scale, torch.ones(evidence.shape[1])])
    scaled = torch.zeros(len(scale)).requires_grad_()
    optimiser = torch.optim.LBFGS([scaled], max_iter=STEPS, line_search_fn="strong_wolfe")

    def negative_log_likelihood() -> Tensor:
        optimiser.zero_grad()
        loss = SHRINKAGE * scaled[1:].square().sum()
        for kind, a in kinds.items():
            index = a.label.view(-1, 1, 1).expand(-1, a.evidence.shape[1], 1)
            right = a.probabilities.gather(2, index).squeeze(2).clamp(1e-3, 0.999)
            likelihood = (posterior(a, scaled / scale, cap).log() + right.log()).logsumexp(1)
            loss = loss - SHARES.get(kind, 1) * likelihood.mean() / len(kinds)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(negative_log_likelihood)  # type: ignore[no-untyped-call]
    found = (scaled / scale).detach()
    n = evidence.shape[2] + 1
    return torch.cat([found[:n], found[n:] - found[n]])


def posterior(a: Answers, weights: Tensor, cap: float) -> Tensor:
    """Return the probability of each hypothesis: (N, hypotheses)."""
    n = a.evidence.shape[2] + 1
    odds = a.probabilities.amax(2).clamp(1e-6, cap).logit()
    score = weights[0] * odds + a.evidence @ weights[1:n] + weights[n:]
    return score.log_softmax(1).exp().clamp_min(1e-30)


def errors(kinds: dict[str, Answers], weights: Tensor, cap: float) -> list[float]:
    """Return the share of pictures of each kind whose most probable digit is wrong."""
    wrong = []
    for a in kinds.values():
        joint = posterior(a, weights, cap).unsqueeze(2) * a.probabilities
        wrong.append(float((joint.sum(1).argmax(1) != a.label).float().mean()))
    return wrong


def _fold(kinds: dict[str, Answers], fold: int, *, others: bool = False) -> dict[str, Answers]:
    """Keep every fifth picture of each kind, or the others."""
    return {
        kind: Answers(*(part[(a.picture % FOLDS == fold) != others] for part in a))
        for kind, a in kinds.items()
    }


def _row(of: object) -> str:
    return "  ".join(f"{error:6.2%}" for error in np.mean(list(of), axis=0))  # type: ignore[call-overload]


def _numbers(weights: Tensor) -> str:
    return " ".join(f"{w:.2f}" for w in weights.tolist())


if __name__ == "__main__":
    main()
