"""Digits drawn on the page in a browser, by mouse, touch, pen or keyboard, as people do."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mnistnet.data.allographs import allographs
from mnistnet.data.strokes import handwritten, smooth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from playwright.sync_api import FloatRect, Page

    Points = NDArray[np.float64]  # (n, 2): x, y in shares of the sheet's side


def strokes_of(
    digit: int,
    seed: int = 0,
    *,
    shape: int = 0,
    size: float = 0.6,
    at: Sequence[float] = (0.5, 0.5),
) -> list[Points]:
    """Return a digit as somebody writes it.

    Args:
        digit: 0 to 9.
        seed: of the hand, which moves every point.
        shape: which of the digit's allographs.
        size: of the longer side, as a share of the sheet's.
        at: where its middle is.
    """
    pieces, bounds = [], []
    for stroke in allographs()[digit][shape].strokes:
        corners = [i for i, (_, _, is_corner) in enumerate(stroke) if is_corner]
        inner = [i for i in corners if 0 < i < len(stroke) - 1]
        ends = [0, *inner, len(stroke) - 1]
        pieces += [[point[:2] for point in stroke[a : b + 1]] for a, b in pairwise(ends)]
        bounds.append(len(pieces))
    written = handwritten(pieces, np.random.default_rng(seed), shake=0.015)
    curves = [smooth(piece, positions=3) for piece in written]
    points = np.concatenate(curves)
    low, high = points.min(0), points.max(0)
    scaled = [(c - (low + high) / 2) * (size / (high - low).max()) + at for c in curves]
    return [np.concatenate(scaled[first:last]) for first, last in pairwise([0, *bounds])]


class Hand:
    """Draws on the sheet of a page.

    Args:
        page: which shows the sheet.
        device: mouse, touch or pen.
    """

    def __init__(self, page: Page, device: str = "mouse") -> None:
        self._page, self._device = page, device
        self._cdp = page.context.new_cdp_session(page)
        self._sheet: FloatRect | None = None  # in the window, when the stroke began
        self._at: Sequence[float] = (0.0, 0.0)

    def draw(self, strokes: Sequence[Points]) -> None:
        """Draw strokes, one after the other."""
        for stroke in strokes:
            self.press(stroke[0])
            for point in stroke[1:]:
                self.move(point)
            self.lift()

    def press(self, point: Sequence[float]) -> None:
        """Put it down on a point of the sheet."""
        sheet = self._page.locator("#paper")
        sheet.scroll_into_view_if_needed()
        self._sheet = sheet.bounding_box()
        self._send("touchStart", "mousePressed", point)

    def move(self, point: Sequence[float]) -> None:
        """Move it to a point, which may lie outside the sheet."""
        self._send("touchMove", "mouseMoved", point)

    def lift(self) -> None:
        """Lift it where it is."""
        self._send("touchEnd", "mouseReleased", self._at)

    def _send(self, touch: str, mouse: str, point: Sequence[float]) -> None:
        assert self._sheet
        self._at = point
        left, top, width, height = (self._sheet[side] for side in ("x", "y", "width", "height"))
        place = {"x": left + point[0] * width, "y": top + point[1] * height}
        if self._device == "touch":
            places = [] if touch == "touchEnd" else [place]
            self._cdp.send("Input.dispatchTouchEvent", {"type": touch, "touchPoints": places})
        else:
            down = {"button": "left", "buttons": int(mouse != "mouseReleased"), "clickCount": 1}
            event = {"type": mouse, "pointerType": self._device, **place, **down}
            self._cdp.send("Input.dispatchMouseEvent", event)


def answer(page: Page) -> str:
    """Wait until the drawing has been answered; return the digit, or a dash."""
    page.wait_for_selector('#says[aria-busy="false"]')
    return page.inner_text("#digit")


def wait_for_text(page: Page, where: str, text: str) -> None:
    """Wait until an element has a text in it."""
    page.locator(where).filter(has_text=text).wait_for()


def forget_refusals(complaints: list[str]) -> None:
    """Remove what the browser itself logs where the service refused a request."""
    complaints[:] = [c for c in complaints if not c.startswith("Failed to load resource")]
