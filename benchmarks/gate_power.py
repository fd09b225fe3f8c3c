"""Measure the gate's false alarms, and what it lets through.

    mnistnet train --name s0 --seed 0 && mnistnet export runs/s0 -o bundles/s0   # for ten seeds
    python benchmarks/gate_power.py bundles/*

Bundles of one recipe that differ only in their seed are equally good, so whatever the gate refuses
among them is a false alarm. The same is asked of simulated networks, whose true loss is known.
Every decision is made by the gate's own function and the gate's own margins.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.gate.judge import Evaluator
from mnistnet.gate.rules import Rules
from mnistnet.metrics.intervals import largest_loss_points, student_t_95

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnistnet.gate.checks import Measured

    Correct = NDArray[np.bool_]

IMAGES = 10_000
DRAWS = 20_000
INJECTIONS = 5  # into every pair of seeds
CHAINS, RELEASES = 2000, 50
DRIFTS_POINTS = (0.0, 0.01, 0.02)  # that each retraining is truly worse than the one before
MARGINS = {"champion": Rules().loss_to_champion_points, "best": Rules().loss_to_best_points}


@dataclass(frozen=True)
class Sample:
    """What is classified, the margins for a loss on it, and the losses that are tried (points)."""

    what: str
    n: int
    margins: dict[str, float]
    losses: tuple[float, ...]


ON_IMAGES = Sample("images", IMAGES, MARGINS, (0.0, 0.05, 0.1, 0.2, 0.3))


def main() -> None:
    """Print the simulations and the bundles' figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path, nargs="+", help="one recipe's, a seed each")
    parser.add_argument("--data", type=Path, help="the data set")
    options = parser.parse_args()
    evaluator = Evaluator(options.data)
    measured = [evaluator.measure(bundle) for bundle in options.bundles]
    if len(measured) < 3 or len(measured[0].correct) != IMAGES:
        parser.error(f"give three bundles or more, and a test set of {IMAGES:,} images")
    rng = np.random.default_rng(0)
    seeds = [m.correct for m in measured]
    discordance, sd_points = report_seeds(seeds, ON_IMAGES)
    report_simulated(discordance, ON_IMAGES, rng)
    report_reseeds(seeds, ON_IMAGES, rng)
    report_chains(discordance, sd_points, rng)
    report_pictures(measured, rng)
    report_corruptions(measured)
    errors = [m.calibration_error for m in measured]
    print(f"\nCalibration error: {min(errors):.4f}–{max(errors):.4f}")


# ---- paired losses, on the test images and on pictures


def report_seeds(seeds: list[Correct], on: Sample) -> tuple[float, float]:
    """Print how much equal models differ.

    Returns:
        The mean share of images that exactly one of two classifies correctly, and the
        standard deviation of their accuracy in points.
    """
    accuracies = np.array([100 * s.mean() for s in seeds])
    pairs = list(permutations(seeds, 2))
    discordance = float(np.mean([(a != b).mean() for a, b in pairs]))
    sd = float(accuracies.std(ddof=1))
    print(f"{len(seeds)} seeds: accuracy {accuracies.mean():.3f}% ± {sd:.3f} points")
    print(f"Two seeds disagree on {discordance:.2%} of the {on.what}: by chance alone their")
    print(
        f"difference would have a deviation of {math.sqrt(discordance / on.n) * 100:.3f} points;"
        f" it has one of {sd * math.sqrt(2):.3f}"
    )
    return discordance, sd


def report_simulated(discordance: float, on: Sample, rng: np.random.Generator) -> None:
    """Print the share refused of networks whose true loss is known."""
    print(f"\nSimulated: refused of {DRAWS:,}, by the true loss in points")
    print_row("disagreement", "margin", *on.losses)
    for share in (discordance / 2, discordance):
        draws = {loss: simulated(share, loss, on.n, rng) for loss in on.losses}
        for name, margin in on.margins.items():
            refused = [refused_share(draws[loss], margin) for loss in on.losses]
            print_row(f"{share:.2%}", f"{name} {margin:g}", *map(percent, refused))


def simulated(
    discordance: float, loss_points: float, n: int, rng: np.random.Generator
) -> list[float]:
    """Return the largest loss of each simulated pair of networks that truly differ by a loss."""
    lost, won = discordance / 2 + loss_points / 100, discordance / 2
    flips = rng.multinomial(n, [lost, won, 1 - lost - won], DRAWS)[:, :2]
    kinds, counts = np.unique(flips, axis=0, return_counts=True)
    bounds = [largest_loss_points(*paired(int(n10), int(n01), n)) for n10, n01 in kinds]
    return [b for b, times in zip(bounds, counts, strict=True) for _ in range(times)]


def paired(lost: int, won: int, n: int) -> tuple[Correct, Correct]:
    """Return n answers of a champion and a candidate that differ on so many."""
    champion, candidate = np.ones((2, n), dtype=bool)
    candidate[:lost] = False
    champion[lost : lost + won] = False
    return champion, candidate


def report_reseeds(seeds: list[Correct], on: Sample, rng: np.random.Generator) -> None:
    """Print the share refused of real retrainings, as they are and with mistakes put in."""
    pairs = list(permutations(seeds, 2))
    print(
        f"\nReal reseeds: refused of {len(pairs)} pairs (champion, candidate), by the loss put in"
    )
    print_row("", "margin", *on.losses)
    bounds = {
        loss: [
            largest_loss_points(a, with_mistakes(b, loss, rng))
            for a, b in pairs
            for _ in range(INJECTIONS if loss else 1)
        ]
        for loss in on.losses
    }
    for name, margin in on.margins.items():
        refused = [refused_share(bounds[loss], margin) for loss in on.losses]
        print_row("", f"{name} {margin:g}", *map(percent, refused))
    if "best" not in on.margins:
        return
    best = max(seeds, key=lambda s: int(s.sum()))
    others = [largest_loss_points(best, s) for s in seeds if s is not best]
    refused_now = sum(bound >= on.margins["best"] for bound in others)
    print(f"Against the best of the {len(seeds)}, {refused_now} of the other {len(others)} refused")


def with_mistakes(correct: Correct, points: float, rng: np.random.Generator) -> Correct:
    """Return the answers with so many of the correct ones, drawn at random, made wrong."""
    worse = correct.copy()
    worse[
        rng.choice(np.flatnonzero(correct), round(points / 100 * len(correct)), replace=False)
    ] = False
    return worse


# ---- one release after the other


def report_chains(discordance: float, sd_points: float, rng: np.random.Generator) -> None:
    """Print what becomes of a champion that is challenged again and again."""
    allowed = {name: most_lost(discordance, margin) for name, margin in MARGINS.items()}
    print(
        f"\nA champion, challenged {RELEASES} times ({CHAINS:,} chains, deviation {sd_points:.3f}"
    )
    print(f"points a seed); it passes with a loss of up to {allowed['champion']} answers to the")
    print(f"champion, {allowed['best']} to the best. The level is the true one, against the first.")
    print_row("drift a release", "compared with", "refused", "level, mean", "lowest 5%")
    for drift in DRIFTS_POINTS:
        for against in (("champion",), ("champion", "best")):
            limits = [allowed[name] if name in against else IMAGES for name in MARGINS]
            refused, levels = chains(sd_points, drift, limits, rng)
            low = float(np.quantile(levels, 0.05))
            columns = (percent(refused), f"{levels.mean():+.2f}", f"{low:+.2f}")
            print_row(f"{drift:g}", " and ".join(against), *columns)


def most_lost(discordance: float, margin: float) -> int:
    """Return the most answers that a candidate may have lost on balance and still pass."""
    flips = round(discordance * IMAGES)
    loss = 0
    while (
        largest_loss_points(*paired((flips + loss + 1) // 2, (flips - loss - 1) // 2, IMAGES))
        < margin
    ):
        loss += 1
    return loss


def chains(
    sd_points: float, drift_points: float, limits: list[int], rng: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """Release again and again; a candidate that passes is the next champion.

    Returns:
        The share of candidates refused, and each chain's last champion's true level (points).
    """
    per_point = IMAGES / 100
    champion = rng.normal(0, sd_points * per_point, CHAINS)  # correct answers on the test images
    best, level, refused = champion.copy(), np.zeros(CHAINS), 0
    for release in range(1, RELEASES + 1):
        true = -drift_points * release
        candidate = rng.normal(true, sd_points, CHAINS) * per_point
        passes = (champion - candidate <= limits[0]) & (best - candidate <= limits[1])
        champion, level = np.where(passes, candidate, champion), np.where(passes, true, level)
        best = np.maximum(best, champion)
        refused += int((~passes).sum())
    return refused / (CHAINS * RELEASES), level


# ---- the drawn pictures


def report_pictures(measured: list[Measured], rng: np.random.Generator) -> None:
    """Print how much equal models differ on the pictures, and what the paired rule refuses."""
    print()
    margins = {"champion": Rules().loss_to_champion_picture_points}
    seeds = [m.pictures.correct for m in measured]
    on = Sample("pictures", len(seeds[0]), margins, (0.0, 1.0, 2.0, 3.0, 5.0))
    discordance, _ = report_seeds(seeds, on)
    report_simulated(discordance, on, rng)
    report_reseeds(seeds, on, rng)
    worst = [
        (float(answers.mean()), kind)
        for kind, answers in (m.pictures.worst_kind() for m in measured)
    ]
    blank = [float(m.pictures.blank.mean()) for m in measured]
    lowest = min(float(seed.mean()) for seed in seeds)
    print(f"The lowest share correct: {lowest:.2%}; of a kind: {min(worst)[0]:.2%} {min(worst)[1]}")
    print(f"Blank pages recognised: {min(blank):.2%} or more")


# ---- the corrupted images


def report_corruptions(measured: list[Measured]) -> None:
    """Print the spread of the mean corruption error, and what margin it asks for."""
    errors = np.array([100 * m.robustness.mean_error for m in measured])
    n, sd, margin = len(errors), float(errors.std(ddof=1)), Rules().corruption_excess_points
    excess = [b - a for a, b in permutations(errors, 2)]
    print(f"\nCorruptions: mean error {errors.mean():.2f}% ± {sd:.2f} points over {n} seeds")
    # Of two more seeds, the difference exceeds this once in 40 times: a Student prediction bound.
    print(f"A margin for 2.5% false alarms: {student_t_95(n - 1) * sd * math.sqrt(2):.2f} points")
    print(
        f"With the gate's, {margin:g} points, {refused_share(excess, margin):.1%} of pairs refused"
    )
    certain = margin + 1.2816 * sd * math.sqrt(2)
    print(f"A true excess of {certain:.1f} points is refused nine times in ten")


def refused_share(bounds: list[float], margin: float) -> float:
    """Return the share that the gate refuses."""
    return float(np.mean(np.asarray(bounds) >= margin))


def percent(share: float) -> str:
    """Write a share in per cent."""
    return f"{share:.1%}"


def print_row(*cells: object) -> None:
    """Print cells as one line of a table."""
    print("  ".join(f"{cell!s:<18}" for cell in cells).rstrip())


if __name__ == "__main__":
    main()
