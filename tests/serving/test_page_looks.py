"""How the page looks, and for whom, in a real browser: widths, themes, accessibility."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hands import Hand, answer, strokes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

WIDTHS = {
    "small phone": (320, 568),
    "phone": (390, 844),
    "tablet": (820, 1180),
    "desk": (1280, 800),
}


def window(name: str) -> dict[str, Any]:
    """Return a window's size, as a browser's context takes it."""
    width, height = WIDTHS[name]
    return {"viewport": {"width": width, "height": height}}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["phone", "desk"])
def test_axe_finds_nothing(open_page: Callable[..., Page], name: str, theme: str) -> None:
    spec = find_spec("axe_core_python")
    assert spec
    assert spec.origin
    axe = Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    page = open_page(color_scheme=theme, **window(name))
    page.evaluate(axe)
    for step in ("empty", "drawn", "kept"):
        if step == "drawn":
            Hand(page).draw(strokes_of(3))
            answer(page)
            page.click("#work")
            page.wait_for_selector("#maps figure")
        if step == "kept":
            page.click("#labels button:text-is('5')")
            page.wait_for_selector("#download:visible")
        page.wait_for_timeout(300)  # colours change slowly
        found = page.evaluate("axe.run().then(({ violations }) => violations)")
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


@pytest.mark.parametrize("name", WIDTHS)
def test_the_page_fits_its_window(open_page: Callable[..., Page], name: str) -> None:
    page = open_page(**window(name))
    Hand(page).draw(strokes_of(3))
    answer(page)
    page.click("#labels button:text-is('5')")
    page.click("#work")
    page.wait_for_selector("#maps figure")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("name", ["phone", "tablet", "desk"])
def test_the_answer_is_seen_while_drawing(open_page: Callable[..., Page], name: str) -> None:
    page = open_page(**window(name))
    for what in ("#paper", "#digit", "#seen", "#says"):
        box = page.locator(what).bounding_box()
        assert box
        assert box["y"] + box["height"] <= WIDTHS[name][1]


def test_there_are_two_themes(open_page: Callable[..., Page]) -> None:
    brightness = {}
    for theme in ("light", "dark"):
        page = open_page(color_scheme=theme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness[theme] = sum(map(int, colour[4:-1].split(",")))
    assert brightness["dark"] < 150 < 600 < brightness["light"]


def test_what_is_drawn_changes_with_the_theme_and_the_answer_does_not(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(color_scheme="light")
    Hand(page).draw(strokes_of(9))
    page.click("#work")
    before = answer(page), page.inner_text("#says")
    painted = [pixels(page, what) for what in ("#paper", "#gallery canvas", "#maps canvas")]
    with page.expect_request("**/maps"):  # the last thing that is drawn again
        page.emulate_media(color_scheme="dark")
    assert (answer(page), page.inner_text("#says")) == before
    for what, light in zip(("#paper", "#gallery canvas", "#maps canvas"), painted, strict=True):
        assert pixels(page, what) != light


def pixels(page: Page, what: str) -> str:
    """Return what the first of some canvases shows."""
    page.evaluate("new Promise((done) => requestAnimationFrame(done))")
    return str(page.locator(what).first.evaluate("(canvas) => canvas.toDataURL()"))


def test_nothing_moves_for_who_wants_no_motion(open_page: Callable[..., Page]) -> None:
    page = open_page(reduced_motion="reduce")
    assert page.evaluate(
        "getComputedStyle(document.querySelector('#bars i')).transitionDuration"
    ) == ("0s")


def test_focus_is_seen_with_the_keyboard_and_not_with_the_mouse(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    outline = "getComputedStyle(document.querySelector('.paper')).outlineStyle"
    Hand(page).draw(strokes_of(1))
    assert page.evaluate(outline) == "none"
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "paper"
    assert page.evaluate(outline) == "solid"


def test_the_figures_and_the_report_are_there(open_page: Callable[..., Page], address: str) -> None:
    page = open_page()
    assert "reads 99.42 % of 10,000 test images" in page.inner_text("#version")
    assert "(95 % interval 99.25–99.55)" in page.inner_text("#version")
    page.click("#version a")
    page.wait_for_url(f"{address}/report.html")
    assert "99.42%" in page.inner_text("body")
