"""Pictures of known digits, drawn from strokes: `draw_suite(seed)` returns some hundreds.

A digit is a few curves through hand-placed points, shaken a little so that no two are alike, on
paper (plain, unevenly lit, lined, squared, grainy), and compressed as a JPEG or not. Everything
random comes from one seeded generator: the same seed, the same pictures.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from mnistnet.data.strokes import (
    draw_ink,
    draw_ruling,
    handwritten,
    light_paper,
    photograph,
    smooth,
)
from mnistnet.inference.decoding import to_rgba

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnistnet.data.strokes import Coverage, Grey

    Points = list[tuple[float, float]]  # (x, y) in a box 1 high, y down

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
# Each way of writing a digit: its strokes, each a curve through these points.
STROKES: list[tuple[int, list[Points]]] = [
    (0, [[(0.32, 0.0), (0.06, 0.22), (0.0, 0.55), (0.1, 0.88), (0.32, 1.0), (0.55, 0.86),
          (0.64, 0.5), (0.56, 0.15), (0.32, 0.0)]]),
    (1, [[(0.12, 0.0), (0.1, 0.33), (0.12, 0.67), (0.1, 1.0)]]),
    (1, [[(0.0, 0.25), (0.15, 0.15), (0.28, 0.0)], [(0.28, 0.0), (0.27, 0.5), (0.28, 1.0)]]),
    (2, [[(0.02, 0.2), (0.18, 0.02), (0.45, 0.03), (0.56, 0.24), (0.44, 0.52), (0.2, 0.78),
          (0.0, 0.98)], [(0.0, 0.98), (0.3, 0.97), (0.64, 0.98)]]),
    (3, [[(0.02, 0.12), (0.22, 0.0), (0.46, 0.07), (0.5, 0.26), (0.38, 0.42), (0.2, 0.47)],
         [(0.2, 0.47), (0.44, 0.53), (0.55, 0.72), (0.45, 0.94), (0.2, 1.0), (0.0, 0.9)]]),
    (4, [[(0.44, 0.0), (0.22, 0.33), (0.0, 0.66)], [(0.0, 0.66), (0.35, 0.65), (0.68, 0.66)],
         [(0.46, 0.36), (0.46, 0.68), (0.45, 1.0)]]),
    (4, [[(0.06, 0.02), (0.03, 0.28), (0.02, 0.5)], [(0.02, 0.5), (0.25, 0.52), (0.5, 0.5)],
         [(0.5, 0.0), (0.5, 0.5), (0.49, 1.0)]]),
    (5, [[(0.12, 0.02), (0.1, 0.2), (0.07, 0.43)],
         [(0.07, 0.43), (0.3, 0.36), (0.52, 0.48), (0.56, 0.72), (0.42, 0.94), (0.18, 1.0),
          (0.0, 0.9)], [(0.12, 0.02), (0.35, 0.01), (0.58, 0.0)]]),
    (6, [[(0.44, 0.0), (0.2, 0.2), (0.04, 0.5), (0.04, 0.8), (0.22, 1.0), (0.45, 0.94),
          (0.54, 0.74), (0.42, 0.55), (0.22, 0.55), (0.05, 0.74)]]),
    (7, [[(0.0, 0.03), (0.3, 0.02), (0.6, 0.02)], [(0.6, 0.02), (0.42, 0.45), (0.24, 1.0)]]),
    (7, [[(0.0, 0.03), (0.3, 0.02), (0.6, 0.02)], [(0.6, 0.02), (0.42, 0.45), (0.24, 1.0)],
         [(0.2, 0.5), (0.4, 0.49), (0.58, 0.48)]]),
    (8, [[(0.3, 0.46), (0.08, 0.3), (0.1, 0.08), (0.3, 0.0), (0.5, 0.1), (0.5, 0.3),
          (0.3, 0.46), (0.06, 0.64), (0.04, 0.88), (0.3, 1.0), (0.56, 0.88), (0.54, 0.64),
          (0.3, 0.46)]]),
    (9, [[(0.5, 0.22), (0.34, 0.02), (0.1, 0.08), (0.02, 0.3), (0.14, 0.48), (0.36, 0.44),
          (0.5, 0.22)], [(0.5, 0.22), (0.5, 0.6), (0.44, 1.0)]]),
]  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What a picture shows besides its digit: lengths in pixels, light in grey levels 0–255."""

    height: int = 280
    width: int = 280
    digit_height: int = 160
    pen: float = 0.1  # stroke width as a part of the digit's height
    left: float = 0.5  # where the digit lies in the room that it has: 0 left, 1 right
    top: float = 0.5
    paper: float = 245
    ink: float = 25
    ruling: str = "plain"  # or "lined", "squared"
    gradient: float = 0  # how much darker one side is than the other
    grain: float = 0  # deviation of the sensor's noise
    specks: int = 0
    jpeg: int | None = None  # quality


def draw_picture(digit: int, scene: Scene, rng: np.random.Generator) -> Grey:
    """Draw one digit in a scene: uint8 (height, width)."""
    shape = (scene.height, scene.width)
    light = light_paper(shape, scene.paper, scene.gradient, rng.uniform(0, 2 * np.pi))
    if scene.ruling != "plain":
        pitch, width = scene.height / 10, max(1.0, scene.height / 250)
        tilt = rng.uniform(-0.05, 0.05)
        squared = scene.ruling == "squared"
        printed = draw_ruling(shape, pitch, width, tilt=tilt, squared=squared)
        light -= 0.3 * (scene.paper - scene.ink) * printed
    ways = [strokes for of, strokes in STROKES if of == digit]
    strokes = handwritten(ways[rng.integers(len(ways))], rng, shake=0.015)
    curves = [smooth(stroke, positions=10) for stroke in strokes]
    ink = _place(draw_ink(curves, scene.digit_height, scene.pen), scene)
    light += ink * (scene.ink - scene.paper)
    for _ in range(scene.specks):
        y, x = rng.integers(scene.height), rng.integers(scene.width)
        size = max(1, scene.height // 150)
        light[y : y + size, x : x + size] = scene.ink
    return _through_jpeg(photograph(light, scene.grain, rng), scene.jpeg)


def draw_suite(seed: int) -> list[tuple[Grey, int, str]]:
    """Draw every digit in every kind of scene.

    Returns:
        (picture, label, description) each; the description names the scene.
    """
    rng = np.random.default_rng(seed)
    return [
        (draw_picture(digit, scene, rng), digit, name)
        for name, scene in scenes(rng)
        for digit in range(10)
    ]


def scenes(rng: np.random.Generator) -> list[tuple[str, Scene]]:
    """Return the kinds of scene, by name; positions and sizes vary with the generator."""
    usual = Scene(left=rng.uniform(0.2, 0.8), top=rng.uniform(0.2, 0.8))
    photo = replace(
        usual, height=750, width=1000, digit_height=330, pen=0.06, paper=205, ink=55, gradient=60
    )
    tiny = Scene(height=400, width=300, digit_height=45, pen=0.12, left=rng.uniform(), top=0.9)
    return [
        ("dark on light", usual),
        ("light on dark", replace(usual, paper=10, ink=250)),
        ("8 pixels high", Scene(height=8, width=8, digit_height=8, pen=0.17)),
        ("16 pixels, cropped tightly", Scene(height=16, width=14, digit_height=16, pen=0.2)),
        ("28 pixels, on white", Scene(height=28, width=28, digit_height=20, pen=0.13)),
        ("wide strip", replace(usual, height=60, width=900, digit_height=50)),
        ("tall strip", replace(usual, height=900, width=90, digit_height=100)),
        ("tiny, in a corner", tiny),
        ("filling the frame", replace(usual, digit_height=278)),
        ("touching the top", replace(usual, top=0.0)),
        ("fine pen", replace(usual, pen=0.025)),
        ("thick marker", replace(usual, pen=0.24)),
        ("thick marker, cropped tightly", replace(usual, width=220, digit_height=280, pen=0.24)),
        ("chalk, cropped tightly", Scene(width=190, digit_height=278, pen=0.2, paper=40, ink=220)),
        ("faint pencil", replace(usual, paper=225, ink=200, pen=0.05, grain=2)),
        ("grey on grey", replace(usual, paper=110, ink=150)),
        ("gradient of light", replace(usual, gradient=120, ink=60, paper=240)),
        ("chalk in a gradient of light", replace(usual, gradient=70, ink=230, paper=90)),
        ("grainy", replace(usual, grain=25, paper=200, ink=60)),
        ("dusty", replace(usual, specks=8, pen=0.08)),
        ("lined paper", replace(photo, ruling="lined")),
        ("squared paper", replace(photo, ruling="squared")),
        ("squared paper, small", replace(photo, ruling="squared", digit_height=140, pen=0.08)),
        ("squared paper, pencil", replace(photo, ruling="squared", ink=95, gradient=20)),
        ("photo, grainy", replace(photo, grain=12, jpeg=60)),
        ("JPEG of quality 10", replace(usual, jpeg=10)),
        ("JPEG of quality 30, small", Scene(64, 64, 44, jpeg=30)),
    ]


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of a file that holds a picture."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _place(ink: Coverage, scene: Scene) -> Coverage:
    """Return the ink on an empty page; what does not fit is cut off."""
    room_y, room_x = scene.height - ink.shape[0], scene.width - ink.shape[1]
    y, x = round(max(0, room_y) * scene.top), round(max(0, room_x) * scene.left)
    cut = max(0, -room_x) // 2
    page = np.zeros((scene.height, scene.width))
    fitting = ink[: scene.height, cut : cut + scene.width]
    page[y : y + fitting.shape[0], x : x + fitting.shape[1]] = fitting
    return page


def _through_jpeg(picture: Grey, quality: int | None) -> Grey:
    if quality is None:
        return picture
    content = encoded(Image.fromarray(picture), "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(content)))


def rgba(picture: NDArray[np.generic]) -> torch.Tensor:
    """Return a picture as the preparation takes it, uint8 (H, W, 4)."""
    return torch.tensor(to_rgba(picture))
