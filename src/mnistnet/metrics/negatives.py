"""Draw pictures that show no digit, to measure how well confidence tells them from digits.

    >>> pictures = draw_negatives(100, seed=0)
    >>> list(pictures)
    ['letters', 'scribbles', 'blank paper', 'ruled paper']

In any pen, in dark ink or bright, on paper as people have it. The same n and seed give the same
pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnistnet.data.strokes import (
    draw_ink,
    draw_ruling,
    handwritten,
    light_paper,
    photograph,
    rotation,
    smooth,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnistnet.data.strokes import Grey, Light, Points

# Capitals that nobody writes like a digit. Left out are O Q D C U (0), I J L (1), Z (2), B (8, 3),
# Y (4), S (5), G (6), T (7) and P (9): to read one of those as its digit is not wrong.
LETTERS: dict[str, list[list[tuple[float, float]]]] = {
    "A": [[(0.0, 1.0), (0.35, 0.0), (0.7, 1.0)], [(0.13, 0.65), (0.57, 0.65)]],
    "E": [[(0.6, 0.0), (0.0, 0.0), (0.0, 1.0), (0.6, 1.0)], [(0.0, 0.5), (0.5, 0.5)]],
    "F": [[(0.6, 0.0), (0.0, 0.0), (0.0, 1.0)], [(0.0, 0.47), (0.5, 0.47)]],
    "H": [[(0.0, 0.0), (0.0, 1.0)], [(0.65, 0.0), (0.65, 1.0)], [(0.0, 0.5), (0.65, 0.5)]],
    "K": [[(0.0, 0.0), (0.0, 1.0)], [(0.6, 0.0), (0.0, 0.55)], [(0.2, 0.4), (0.62, 1.0)]],
    "M": [[(0.0, 1.0), (0.05, 0.0), (0.42, 0.65), (0.8, 0.0), (0.85, 1.0)]],
    "N": [[(0.0, 1.0), (0.0, 0.0), (0.65, 1.0), (0.65, 0.0)]],
    "R": [[(0.0, 1.0), (0.0, 0.0), (0.4, 0.02), (0.55, 0.14), (0.55, 0.36), (0.4, 0.48),
           (0.0, 0.5)], [(0.25, 0.5), (0.6, 1.0)]],
    "V": [[(0.0, 0.0), (0.35, 1.0), (0.7, 0.0)]],
    "W": [[(0.0, 0.0), (0.22, 1.0), (0.45, 0.3), (0.68, 1.0), (0.9, 0.0)]],
    "X": [[(0.0, 0.0), (0.65, 1.0)], [(0.65, 0.0), (0.0, 1.0)]],
}  # fmt: skip


def draw_negatives(n: int, seed: int) -> dict[str, list[Grey]]:
    """Draw n pictures of each kind.

    Returns:
        For each kind its pictures, uint8 (H, W), about 80 to 250 pixels a side.
    """
    rng = np.random.default_rng(seed)
    return {kind: [draw(rng) for _ in range(n)] for kind, draw in KINDS.items()}


def _letter(rng: np.random.Generator) -> Grey:
    return _on_paper(handwritten(LETTERS[str(rng.choice(list(LETTERS)))], rng), rng)


def _scribble(rng: np.random.Generator) -> Grey:
    """Draw a tangle of loops, or the zigzag that crosses something out."""
    turns = int(rng.integers(6, 12))
    if rng.random() < 0.5:
        corners = rng.uniform(0, 1, (2 * turns, 2))
    else:
        to_and_fro = np.arange(2 * turns) % 2
        corners = np.stack([to_and_fro, np.linspace(0, 1, 2 * turns)], axis=1)
        corners = corners @ rotation(rng.uniform(0, np.pi)) + rng.normal(0, 0.06, corners.shape)
    return _on_paper([smooth(corners)], rng)


def _blank_paper(rng: np.random.Generator) -> Grey:
    return _picture(_paper(_size(rng), rng), rng)


def _ruled_paper(rng: np.random.Generator) -> Grey:
    """Draw lined or squared paper, slightly out of level."""
    light = _paper(_size(rng), rng)
    pitch, tilt = rng.uniform(12, 40), rng.uniform(-0.05, 0.05)
    squared = bool(rng.random() < 0.5)
    printed = draw_ruling(light.shape, pitch, 1.5, tilt=tilt, squared=squared)
    return _picture(light * (1 - rng.uniform(0.1, 0.3) * printed), rng)


KINDS: dict[str, Callable[[np.random.Generator], Grey]] = {
    "letters": _letter,
    "scribbles": _scribble,
    "blank paper": _blank_paper,
    "ruled paper": _ruled_paper,
}


def _on_paper(strokes: list[Points], rng: np.random.Generator) -> Grey:
    """Draw strokes on plain paper, with some room around them."""
    ink = draw_ink(strokes, height=int(rng.integers(50, 150)), pen=rng.uniform(0.05, 0.16))
    room = rng.integers(5, 50, (2, 2))
    coverage = np.pad(ink, room)
    light = _paper(coverage.shape, rng)
    return _picture(light * (1 - coverage * rng.uniform(0.6, 0.9)), rng)


def _size(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(80, 250)), int(rng.integers(80, 250))


def _paper(shape: tuple[int, int], rng: np.random.Generator) -> Light:
    angle, brightness, falloff = (rng.uniform(*r) for r in ((0, 2 * np.pi), (190, 245), (0, 40)))
    return light_paper(shape, brightness, falloff, angle)


def _picture(light: Light, rng: np.random.Generator) -> Grey:
    """Photograph it, and invert three pictures in ten."""
    levels = photograph(light, rng.uniform(0, 6), rng)
    return 255 - levels if rng.random() < 0.3 else levels
