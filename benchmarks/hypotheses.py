"""Fit what chooses a hypothesis on a picture: `mnistnet.picture`'s weights, priors and cap.

    python benchmarks/hypotheses.py src/mnistnet/models/default --cache hypotheses.npz

There are fifteen hypotheses on a picture. The probability of each is a softmax of the weighted log
odds of the network's confidence, plus weighted evidence, plus a prior; that of a digit is the mean
of the network's probabilities, weighted by these: a mixture of experts (Jacobs et al. 1991). The
fit maximises the likelihood of the right digits on pictures that vary as real ones do: held-out
images, augmented and photographed; drawn digits, and scenes with more in them than a digit; and
half of other people's (`load_digits`). No corruption of the evaluation's suite is among them: these
are for measuring.

What the graph finds in the pictures does not depend on the network. It is computed once, and kept
in the file that `--cache` names: a fit for another network takes seconds. Printed are, for each cap
on confidence, the errors on pictures that were not fitted to (two folds), and the weights fitted on
all; then what the errors would be without each hypothesis.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnxruntime
import torch
from PIL import Image
from sklearn.datasets import load_digits

from mnistnet import data as datasets
from mnistnet.bundle.graph_file import OPSET
from mnistnet.inference.decoding import to_rgba
from mnistnet.model.network import MnistNet, normalise
from mnistnet.picture import (
    CONFIDENCE_CAP,
    CONFIDENCE_WEIGHT,
    EVIDENCE_WEIGHTS,
    LOG_PRIORS,
)
from mnistnet.picture.export import export_hypotheses
from mnistnet.training.draws import draw, generator_for
from mnistnet.training.machine import engine_for
from mnistnet.training.recipe import RELEASE

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "picture"))
from drawing import draw_suite  # type: ignore[import-not-found]
from scenes import draw_scenes  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    Grey = NDArray[np.uint8]
    Labelled = tuple[str, Grey, int]  # kind, picture, digit

CAPS = (0.98, 0.99, 0.995, 0.998)
FOLDS = 2
STEPS = 60
SHRINKAGE = 3e-4  # keeps weights finite on which the pictures have little influence
# How much a kind of picture counts, if not 1; by errors, photographs would dominate.
SHARES = {"plain": 2, "augmented": 2, "drawn": 2, "other writers": 4, "photographed": 3}
SCENES_PER_DIGIT = 8
HELD_OUT = 2000  # images on which the shipped network was only calibrated
BATCH = 1024  # images that the network evaluates at once


class Found(NamedTuple):
    """What is found in N pictures, and what a network makes of it."""

    evidence: Tensor  # float32 (N, hypotheses, pieces of evidence)
    probabilities: Tensor  # float32 (N, hypotheses, 10)
    label: Tensor  # int64 (N,)
    share: Tensor  # float32 (N,): how much a picture counts in the fit

    def some(self, which: Tensor) -> Found:
        """Return what is found in some of the pictures."""
        return Found(*(part[which] for part in self))


def main() -> None:
    """Evaluate all hypotheses on all pictures, fit, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("network", type=Path, help="a run's or a bundle's folder")
    parser.add_argument("--data", type=Path, help="a data set; searched in the usual places")
    parser.add_argument("--cache", type=Path, required=True, help="read, or written if missing")
    options = parser.parse_args()
    if not options.cache.exists():
        pictures = list(development_pictures(options.data))
        find(pictures, options.cache)
    cache = np.load(options.cache)
    kinds: NDArray[np.str_] = cache["kinds"]
    found = evaluated(MnistNet.load(options.network), cache)
    print("errors in %:   " + "  ".join(dict.fromkeys(kinds.tolist())))
    present = torch.tensor([CONFIDENCE_WEIGHT, *EVIDENCE_WEIGHTS, *LOG_PRIORS])
    print("as it is:      " + _row(wrong(found, present, CONFIDENCE_CAP), kinds))
    for cap in CAPS:
        weights = fit(found, cap)
        unseen = torch.zeros(len(kinds))
        for fold in range(FOLDS):
            own = torch.arange(len(kinds)) % FOLDS == fold
            unseen[own] = wrong(found.some(own), fit(found.some(~own), cap, weights), cap)
        print(f"cap {cap:.3f}: {_row(unseen, kinds)}  weights {_numbers(weights)}", flush=True)
    for hypothesis in range(found.evidence.shape[1]):
        without = present.clone()
        without[hypothesis - found.evidence.shape[1]] = -100
        print(f"without {hypothesis:2}: {_row(wrong(found, without, CONFIDENCE_CAP), kinds)}")


def development_pictures(data: Path | None) -> Iterator[Labelled]:
    """Yield the pictures that the choice is fitted on."""
    rng = np.random.default_rng(0)
    images = datasets.load(data).hold_out(HELD_OUT).test
    x, y = images.images, images.labels.tolist()
    strong = RELEASE.replacing(noise=1.0, contrast=0.8, blur=0.5, stroke_px=1.2)
    draws = draw(strong, generator_for(0, 0), 500)
    augmented = engine_for(strong).augment(x[200:700], draws)
    augmented[::2] = 255 - augmented[::2]
    yield from (("plain", image, label) for image, label in zip(x[:200], y[:200], strict=True))
    yield from (("augmented", *each) for each in zip(augmented, y[200:700], strict=True))
    for image, label in zip(x[700:1500], y[700:1500], strict=True):
        yield "photographed", photograph(image, rng), label
    for seed in (20, 21):
        yield from (("drawn", picture, digit) for picture, digit, _ in draw_suite(seed))
    others = load_digits()
    scans = (others.images * (255 / 16)).round().astype(np.uint8)
    yield from (
        ("other writers", *each) for each in zip(scans[::2], others.target[::2], strict=True)
    )
    yield from draw_scenes(0, SCENES_PER_DIGIT)


def find(pictures: list[Labelled], file: Path) -> None:
    """Write what the graph finds in pictures, their labels and their kinds."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    content = export_hypotheses(OPSET).SerializeToString()
    session = onnxruntime.InferenceSession(content, options)
    found = []
    for n, (_, picture, _) in enumerate(pictures):
        found.append(session.run(None, {session.get_inputs()[0].name: to_rgba(picture)})[:2])
        if n % 100 == 0:
            print(f"{n} of {len(pictures)} pictures", file=sys.stderr)
    np.savez(
        file,
        seen=np.stack([each[0] for each in found]),
        evidence=np.stack([each[1] for each in found]),
        labels=np.array([label for *_, label in pictures]),
        kinds=np.array([kind for kind, *_ in pictures]),
    )


def evaluated(net: MnistNet, cache: dict[str, NDArray[np.generic]]) -> Found:
    """Have a network evaluate all hypotheses."""
    seen = torch.tensor(cache["seen"])
    images = seen.flatten(0, 1)
    with torch.inference_mode():
        starts = range(0, len(images), BATCH)
        batches = [net(normalise(images[i : i + BATCH])).exp() for i in starts]
    kinds, index, counts = np.unique(cache["kinds"], return_inverse=True, return_counts=True)
    share = np.array([SHARES.get(str(kind), 1) for kind in kinds]) / counts / len(kinds)
    return Found(
        torch.tensor(cache["evidence"]),
        torch.cat(batches).view(*seen.shape[:2], 10),
        torch.tensor(cache["labels"]).long(),
        torch.tensor(share[index]).float(),
    )


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


def fit(found: Found, cap: float, start: Tensor | None = None) -> Tensor:
    """Return the weights with the highest likelihood.

    The weight of confidence, those of evidence, and the log priors, of which the first is zero:
    float32 (1 + pieces of evidence + hypotheses).
    """
    _, hypotheses, pieces = found.evidence.shape
    spread = found.evidence.flatten(0, 1).std(0).clamp_min(1e-3)
    scale = torch.cat([torch.ones(1), spread, torch.ones(hypotheses)])
    scaled = torch.zeros(len(scale)) if start is None else start * scale
    scaled.requires_grad_()
    optimiser = torch.optim.LBFGS([scaled], max_iter=STEPS, line_search_fn="strong_wolfe")
    index = found.label.view(-1, 1, 1).expand(-1, hypotheses, 1)
    right = found.probabilities.gather(2, index).squeeze(2).clamp(1e-3, 0.999).log()

    def negative_log_likelihood() -> Tensor:
        optimiser.zero_grad()
        likelihood = (posterior(found, scaled / scale, cap) + right).logsumexp(1)
        loss = SHRINKAGE * scaled[1:].square().sum() - (found.share * likelihood).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(negative_log_likelihood)  # type: ignore[no-untyped-call]
    weights = (scaled / scale).detach()
    return torch.cat([weights[: pieces + 1], weights[pieces + 1 :] - weights[pieces + 1]])


def posterior(found: Found, weights: Tensor, cap: float) -> Tensor:
    """Return the log probability of each hypothesis: (N, hypotheses)."""
    n = found.evidence.shape[2] + 1
    odds = found.probabilities.amax(2).clamp(1e-6, cap).logit()
    return (weights[0] * odds + found.evidence @ weights[1:n] + weights[n:]).log_softmax(1)


def wrong(found: Found, weights: Tensor, cap: float) -> Tensor:
    """Return 1 for each picture whose most probable digit is wrong, 0 for the others: (N,)."""
    joint = posterior(found, weights, cap).exp().unsqueeze(2) * found.probabilities
    return (joint.sum(1).argmax(1) != found.label).float()


def _row(errors: Tensor, kinds: NDArray[np.str_]) -> str:
    """Return the share of errors of each kind of picture, and their mean."""
    shares = [float(errors[kinds == kind].mean()) for kind in dict.fromkeys(kinds.tolist())]
    return "  ".join(f"{share:6.2%}" for share in [*shares, sum(shares) / len(shares)])


def _numbers(weights: Tensor) -> str:
    return " ".join(f"{w:.2f}" for w in weights.tolist())


if __name__ == "__main__":
    main()
