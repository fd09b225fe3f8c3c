"""Drawing on the page, in a real browser: what users of such pages complain of."""

from __future__ import annotations

import io
import time
from base64 import b64decode
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hands import Hand, answer, forget_refusals, strokes_of, wait_for_text
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Request, Route

pytestmark = pytest.mark.slow

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 3,
    "has_touch": True,
    "is_mobile": True,
}
BARRED_SEVENS, FLAGGED_ONES = (4, 5, 6, 7), (3, 4, 5)  # among the allographs


def clear(page: Page) -> None:
    """Clear the sheet."""
    page.click("#clear")
    assert answer(page) == "–"


def ink(page: Page) -> np.ndarray:
    """Return where the sheet on the screen has ink, bool (side, side)."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    address = page.evaluate("document.getElementById('paper').toDataURL()")
    with Image.open(io.BytesIO(b64decode(address.partition(",")[2]))) as picture:
        return np.asarray(picture)[..., 3] > 127


@pytest.mark.parametrize("device", ["mouse", "touch", "pen"])
def test_digits_are_read(open_page: Callable[..., Page], device: str) -> None:
    page = open_page(**(PHONE if device == "touch" else {}))
    hand = Hand(page, device)
    for digit in range(10):
        hand.draw(strokes_of(digit, seed=digit))
        assert answer(page) == str(digit)
        clear(page)


def test_sevens_with_a_bar_and_ones_with_a_flag_are_read(open_page: Callable[..., Page]) -> None:
    page = open_page()
    for digit, shapes in ((7, BARRED_SEVENS), (1, FLAGGED_ONES)):
        for shape in shapes:
            Hand(page).draw(strokes_of(digit, seed=3, shape=shape))
            assert answer(page) == str(digit)
            clear(page)


def test_digits_in_corners_small_ones_and_large_ones_are_read(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    corners = [(x, y) for x in (0.15, 0.85) for y in (0.15, 0.85)]
    placed = [(0.25, "3", corner) for corner in corners]
    placed += [(0.12, "3", (0.5, 0.5)), (0.92, "7", (0.5, 0.5))]
    for digit, (size, pen, at) in zip((2, 3, 5, 6, 8, 4), placed, strict=True):
        page.fill("#pen", pen)
        Hand(page).draw(strokes_of(digit, seed=1, size=size, at=at))
        assert answer(page) == str(digit)
        clear(page)


def test_thin_and_thick_pens_are_read(open_page: Callable[..., Page]) -> None:
    page = open_page()
    for width in ("2", "16"):
        page.fill("#pen", width)
        for digit in (2, 7):
            Hand(page).draw(strokes_of(digit, seed=2, size=0.75))
            assert answer(page) == str(digit)
            clear(page)


def test_the_width_of_the_pen_is_that_of_the_line(open_page: Callable[..., Page]) -> None:
    page = open_page()
    for width in (2, 16):
        page.fill("#pen", str(width))
        Hand(page).draw([np.array([[0.5, 0.2], [0.5, 0.8]])])
        drawn = ink(page)
        assert drawn[len(drawn) // 2].mean() == pytest.approx(width / 100, abs=0.006)
        clear(page)


def test_the_answer_follows_while_a_stroke_is_drawn(open_page: Callable[..., Page]) -> None:
    page = open_page()
    hand = Hand(page)
    (stroke,) = strokes_of(3)
    hand.press(stroke[0])
    for point in stroke[1:]:
        hand.move(point)
    wait_for_text(page, "#digit", "3")
    assert page.get_attribute("#says", "aria-busy") == "true"  # not announced yet
    hand.lift()
    assert answer(page) == "3"


def test_one_request_is_in_flight_and_the_latest_drawing_wins(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    asked: list[Route] = []
    page.route("**/predict*", lambda route: asked.append(route))  # held back
    Hand(page).draw(strokes_of(1))
    Hand(page).draw(strokes_of(7, at=(0.5, 0.5)))
    page.click("#clear")
    Hand(page).draw(strokes_of(4))
    page.wait_for_timeout(100)
    assert len(asked) == 1
    while page.get_attribute("#says", "aria-busy") == "true":
        if asked:
            asked.pop().continue_()
        assert len(asked) <= 1
        page.wait_for_timeout(10)
    assert answer(page) == "4"


def test_nothing_is_asked_and_no_digit_shown_of_a_blank_sheet(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    hand = Hand(page)
    hand.draw(strokes_of(5))
    assert answer(page) == "5"
    asked.clear()
    clear(page)
    assert page.inner_text("#says") == "Nothing drawn yet."
    assert page.locator("#bars .best").count() == 0
    assert asked == []


def test_cleared_while_it_is_asked_there_is_no_digit(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.route("**/predict*", lambda route: (time.sleep(0.3), route.continue_()))
    Hand(page).draw(strokes_of(5))
    page.click("#clear")
    assert answer(page) == "–"
    assert page.inner_text("#says") == "Nothing drawn yet."


def test_two_digits_are_said_and_not_guessed(open_page: Callable[..., Page]) -> None:
    page = open_page()
    hand = Hand(page)
    said = 0
    for left, right in [(3, 5), (1, 0), (4, 2), (7, 6), (2, 9)]:
        hand.draw(strokes_of(left, seed=1, size=0.4, at=(0.25, 0.5)))
        hand.draw(strokes_of(right, seed=2, size=0.4, at=(0.75, 0.5)))
        if answer(page) == "–":
            assert "more than one digit" in page.inner_text("#says")
            assert page.locator("#bars .best").count() == 0
            said += 1
        clear(page)
    assert said >= 4  # the network notices most, not all


def test_what_it_is_not_sure_of_is_said(open_page: Callable[..., Page]) -> None:
    page = open_page()
    an_m = np.array([[0.2, 0.7], [0.3, 0.3], [0.5, 0.6], [0.7, 0.3], [0.8, 0.7]])
    Hand(page).draw([an_m])
    answer(page)
    assert page.inner_text("#says").startswith("Not sure: ")
    assert page.get_attribute("#digit", "class") == "unsure"


def test_the_page_does_not_scroll_during_a_stroke_and_scrolls_elsewhere(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(**PHONE)
    hand = Hand(page, "touch")
    hand.draw([np.linspace((0.5, 0.9), (0.5, 0.1), 20)])
    assert page.evaluate("scrollY") == 0
    drawn = ink(page)
    assert drawn[:, len(drawn) // 2].mean() > 0.8  # the stroke did not end
    hand.draw([np.linspace((0.5, 1.9), (0.5, 1.2), 20)])  # below the sheet
    assert page.evaluate("scrollY") > 50


def test_a_stroke_may_leave_the_sheet_and_come_back(open_page: Callable[..., Page]) -> None:
    page = open_page()
    hand = Hand(page)
    way = np.array([(0.5, 0.2), (0.9, 0.2), (1.3, 0.2), (1.3, 0.8), (0.9, 0.8), (0.5, 0.8)])
    hand.draw([np.concatenate([np.linspace(a, b, 8) for a, b in pairwise(way)])])
    drawn = ink(page)
    side = len(drawn)
    assert drawn[side // 5, side // 2 :].all()
    assert drawn[4 * side // 5, side // 2 :].all()
    assert not drawn[2 * side // 5 : 3 * side // 5].any()  # no short cut
    page.click("#undo")
    assert not ink(page).any()  # it was one stroke


def test_a_stroke_that_ends_outside_has_ended(open_page: Callable[..., Page]) -> None:
    page = open_page()
    hand = Hand(page)
    hand.draw([np.linspace((0.5, 0.5), (1.2, 0.5), 10)])
    before = ink(page)
    page.mouse.move(*(page.locator("#paper").bounding_box()[side] + 100 for side in "xy"))
    assert (ink(page) == before).all()


def test_a_second_finger_changes_nothing(open_page: Callable[..., Page]) -> None:
    page = open_page(**PHONE)
    box = page.locator("#paper").bounding_box()
    places = [{"x": box["x"] + 50 * i, "y": box["y"] + 100, "id": i} for i in (1, 5)]
    cdp = page.context.new_cdp_session(page)
    for kind, fingers in [("touchStart", 1), ("touchStart", 2), ("touchMove", 2), ("touchEnd", 0)]:
        event = {"type": kind, "touchPoints": places[:fingers]}
        cdp.send("Input.dispatchTouchEvent", event)
    drawn = ink(page)
    assert drawn.any()
    assert not drawn[:, len(drawn) // 2 :].any()
    page.click("#undo")
    assert not ink(page).any()


@pytest.mark.parametrize("density", [1, 2, 3])
def test_on_a_dense_screen_lines_are_sharp_and_the_network_sees_the_same(
    open_page: Callable[..., Page], density: int
) -> None:
    page = open_page(device_scale_factor=density)
    Hand(page).draw(strokes_of(6, seed=4))
    assert answer(page) == "6"
    assert page.evaluate("""() => {
        const canvas = document.getElementById("paper");
        return canvas.width / canvas.clientWidth;
    }""") == pytest.approx(density, abs=0.01)
    assert seen(page) == seen(open_drawn(open_page, density=1))


def open_drawn(open_page: Callable[..., Page], density: int) -> Page:
    """Open a page, and draw a six on it."""
    page = open_page(device_scale_factor=density)
    Hand(page).draw(strokes_of(6, seed=4))
    assert answer(page) == "6"
    return page


def seen(page: Page) -> str:
    """Return what the network saw, as the page shows it."""
    return str(page.evaluate("document.getElementById('seen').toDataURL()"))


@pytest.mark.parametrize("zoom", [0.5, 1.5, 3])
def test_on_a_zoomed_page_ink_is_where_the_pen_is(
    open_page: Callable[..., Page], zoom: float
) -> None:
    page = open_page()
    page.evaluate(f"document.documentElement.style.zoom = {zoom}")
    page.locator("#paper").scroll_into_view_if_needed()
    hand = Hand(page)
    hand.draw([np.array([(0.2, 0.3), (0.2, 0.32)])])
    y, x = (places.mean() / len(ink(page)) for places in np.nonzero(ink(page)))
    assert (x, y) == (pytest.approx(0.2, abs=0.01), pytest.approx(0.31, abs=0.01))


def test_on_a_page_that_two_fingers_enlarged_ink_is_where_the_finger_is(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(**PHONE)
    cdp = page.context.new_cdp_session(page)
    cdp.send("Emulation.setPageScaleFactor", {"pageScaleFactor": 2})
    box = page.evaluate("document.getElementById('paper').getBoundingClientRect().toJSON()")
    Hand(page, "touch").draw([np.array([(0.2, 0.3), (0.2, 0.31)])])
    y, x = (places.mean() / len(ink(page)) for places in np.nonzero(ink(page)))
    assert page.evaluate("visualViewport.scale") == 2
    assert page.evaluate("visualViewport.width") < box["width"]
    assert (x, y) == (pytest.approx(0.2, abs=0.01), pytest.approx(0.305, abs=0.01))


def test_undo_takes_back_strokes_clearing_and_pictures(open_page: Callable[..., Page]) -> None:
    page = open_page()
    hand = Hand(page)
    assert page.is_disabled("#undo")
    hand.draw(strokes_of(1))
    hand.draw([np.array([[0.1, 0.9], [0.9, 0.9]])])
    page.click("#undo")
    assert answer(page) == "1"
    page.click("#gallery button")
    answer(page)
    page.click("#clear")
    page.keyboard.press("Control+z")  # the clearing
    page.keyboard.press("Control+z")  # the picture
    assert answer(page) == "1"
    page.click("#undo")
    assert answer(page) == "–"
    assert page.is_disabled("#undo")


def test_a_stroke_may_be_undone_while_it_is_drawn(open_page: Callable[..., Page]) -> None:
    page = open_page()
    hand = Hand(page)
    hand.press((0.5, 0.2))
    hand.move((0.5, 0.5))
    page.keyboard.press("Control+z")
    hand.move((0.5, 0.8))
    hand.lift()
    assert answer(page) == "–"
    assert not ink(page).any()


def test_a_digit_is_drawn_with_the_keyboard_alone(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "paper"
    assert page.is_visible("#keys kbd")
    for key, times in [("ArrowLeft", 7), ("ArrowUp", 12), ("Space", 1), ("ArrowRight", 14)]:
        for _ in range(times):
            page.keyboard.press(key)
    for _ in range(12):  # to the left and down
        page.keyboard.down("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
    page.keyboard.up("ArrowDown")
    page.keyboard.press("Space")
    assert answer(page) == "7"
    page.keyboard.press("Backspace")
    assert answer(page) == "–"
    page.keyboard.press("Control+z")
    assert answer(page) == "–"


def test_every_control_is_reached_with_the_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page()
    Hand(page).draw(strokes_of(2))
    answer(page)
    found = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        found.add(page.evaluate("document.activeElement.id || document.activeElement.ariaLabel"))
    assert found >= {"paper", "undo", "clear", "pen", "file", "work", "It’s a 7", "Read a 7"}


def test_the_model_is_loaded_once_and_again_only_if_that_failed(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    counting = """
        export * from "./ask.js?real";
        window.loads = 0;
        export async function load() {
            window.loads += 1;
            if (window.loads === 1) throw new Error("The network is away.");
        }"""
    script = {"body": counting, "content_type": "text/javascript"}
    page.route("**/ask.js", lambda route: route.fulfill(**script))
    page.reload()
    assert page.evaluate("window.loads") == 0  # not before it is needed
    hand = Hand(page)
    hand.draw([strokes_of(8)[0][:2]])
    wait_for_text(page, "#says", "away")
    for digit in (8, 6, 2):
        hand.draw(strokes_of(digit))
        answer(page)
        clear(page)
    assert page.evaluate("window.loads") == 2


def test_a_service_that_is_busy_is_said_and_asked_again(
    open_page: Callable[..., Page], complaints: list[str]
) -> None:
    page = open_page()
    busy = {"status": 503, "headers": {"Retry-After": "1"}, "json": {"error": "Too many wait."}}
    page.route("**/predict*", lambda route: route.fulfill(**busy))
    Hand(page).draw(strokes_of(0))
    wait_for_text(page, "#says", "Too many wait.")
    page.unroute("**/predict*")
    wait_for_text(page, "#digit", "0")
    forget_refusals(complaints)
