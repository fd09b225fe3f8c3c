"""Pictures on the page, in a real browser: uploads, gallery, the folder of misread ones, maps."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from drawing import Scene, draw_picture, encoded
from hands import Hand, answer, forget_refusals, strokes_of, wait_for_text
from PIL import Image
from test_serve import serving

from mnistnet.inference.decoding import ORIENTATION
from mnistnet.inference.predictor import DEFAULT_BUNDLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def drawn(digit: int, **scene: Any) -> Image.Image:
    """Return a picture of a digit, in grey."""
    return Image.fromarray(draw_picture(digit, Scene(**scene), np.random.default_rng(digit)))


def on_nothing(digit: int, ink: int) -> Image.Image:
    """Return a digit in ink of a grey level on a transparent sheet."""
    coverage = Image.eval(drawn(digit, paper=255, ink=0), lambda level: 255 - level)
    picture = Image.new("L", coverage.size, ink)
    return Image.merge("LA", (picture, coverage))


def photograph_on_its_side(digit: int) -> bytes:
    """Return a JPEG that its EXIF orientation turns upright, as a phone writes it."""
    picture = drawn(digit, height=750, width=1000, digit_height=330, pen=0.06, paper=205, ink=55)
    lying = picture.rotate(90, expand=True)
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by 90° clockwise
    return encoded(lying, "JPEG", exif=exif)


def png(picture: Image.Image) -> bytes:
    """Return a picture as a file."""
    return encoded(picture, "PNG")


def choose(page: Page, content: bytes, name: str = "picture.png") -> None:
    """Choose a picture file."""
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.set_input_files("#file", file)
    page.wait_for_selector("#undo:enabled, #says.problem")


@pytest.mark.parametrize(
    ("digit", "content"),
    [
        (3, png(drawn(3))),
        (5, png(drawn(5, paper=10, ink=250))),
        (2, png(on_nothing(2, ink=255))),
        (6, png(on_nothing(6, ink=0))),
        (3, photograph_on_its_side(3)),  # lying, it is read as another digit
        (4, encoded(drawn(4), "WEBP")),
        (8, png(drawn(8, height=2000, width=3000, digit_height=900))),
    ],
    ids=["plain", "inverted", "white on nothing", "black on nothing", "on its side", "WebP", "big"],
)
def test_a_picture_is_read(open_page: Callable[..., Page], digit: int, content: bytes) -> None:
    page = open_page()
    choose(page, content)
    assert answer(page) == str(digit)
    page.set_input_files("#file", [])
    Hand(page).draw(strokes_of(1))  # a stroke begins a new sheet
    assert answer(page) == "1"


def test_a_blank_picture_has_no_digit(open_page: Callable[..., Page]) -> None:
    page = open_page()
    choose(page, png(Image.new("L", (200, 200), 255)))
    assert answer(page) == "–"
    assert "no ink" in page.inner_text("#says")


@pytest.mark.parametrize(
    ("content", "problem", "digit"),
    [
        (b"<html>", "This browser cannot read that file. Save it as PNG or JPEG.", "1"),
        (png(Image.new("L", (2, 2))), "no digit fits that", "–"),
    ],
    ids=["no picture", "too small"],
)
def test_a_file_that_cannot_be_read_is_said_and_no_digit_shown_of_it(
    open_page: Callable[..., Page], complaints: list[str], content: bytes, problem: str, digit: str
) -> None:
    page = open_page()
    Hand(page).draw([np.array([(0.5, 0.2), (0.5, 0.8)])])
    assert answer(page) == "1"
    choose(page, content)
    wait_for_text(page, "#says", problem)
    assert answer(page) == digit
    forget_refusals(complaints)


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_picture_may_be_pasted_and_dropped(open_page: Callable[..., Page], way: str) -> None:
    page = open_page()
    page.evaluate(
        """([way, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(bytes)], "9.png", { type: "image/png" }));
            const event = way === "paste"
                ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
                : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
            document.body.dispatchEvent(event);
        }""",
        [way, list(png(drawn(9)))],
    )
    page.wait_for_selector("#undo:enabled")
    assert answer(page) == "9"


def test_a_digit_of_the_gallery_is_read_as_the_report_says(open_page: Callable[..., Page]) -> None:
    page = open_page()
    mistakes = json.loads((DEFAULT_BUNDLE / "report.json").read_bytes())["mistakes"]
    buttons = page.locator("#gallery button")
    assert buttons.count() == len(mistakes)
    read = []
    for i in range(8):
        buttons.nth(i).click()
        read.append(answer(page))
    # The picture's graph frames them once more, so a few answers differ.
    assert sum(a == str(m["prediction"]) for a, m in zip(read, mistakes, strict=False)) >= 5


def test_misread_pictures_join_a_folder_that_eval_reads(
    open_page: Callable[..., Page], run: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page()
    hand = Hand(page)
    assert page.locator("#labels button").first.is_disabled()
    for digit in (1, 7, 7, 4):
        hand.draw(strokes_of(digit, seed=digit))
        answer(page)
        page.click(f"#labels button:text-is('{digit}')")
        wait_for_text(page, "#where", f"Kept as a {digit}.")
        page.click("#clear")
    page.click("#unkeep")
    wait_for_text(page, "#where", "3 pictures")
    page.reload()  # they are kept longer than the page
    page.wait_for_selector("#download:visible")
    with page.expect_download() as download:
        page.click("#download")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["1/0001.png", "7/0002.png", "7/0003.png"]
        archive.extractall(tmp_path / "digits")
    done = run("eval", DEFAULT_BUNDLE, "--data", tmp_path / "digits", "-o", tmp_path / "report")
    assert done.code == 0
    assert "Accuracy: 100.00%" in done.out
    assert "n = 3)" in done.out
    page.click("#forget")
    page.wait_for_selector("#download", state="hidden")


def test_misread_pictures_are_sent_to_a_service_that_collects(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    with serving("--collect", tmp_path / "misread") as (_, address):
        page = open_page(address)
        wait_for_text(page, "#where", "is sent to this service")
        Hand(page).draw(strokes_of(7))
        answer(page)
        page.click("#labels button:text-is('7')")
        wait_for_text(page, "#where", "Thank you")
        assert not page.is_visible("#download")
        page.close()
    (file,) = (path for path in (tmp_path / "misread").rglob("*") if path.is_file())
    assert file.parent.name == "7"
    with Image.open(file) as picture:
        assert picture.size == (280, 280)


def test_the_network_is_shown_at_work_and_follows(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.click("#work")
    wait_for_text(page, "#maps", "Draw a digit first.")
    hand = Hand(page)
    maps = []
    for digit in (4, 8):
        hand.draw(strokes_of(digit, seed=digit))
        assert answer(page) == str(digit)
        assert page.locator("#maps figure").count() == 8
        assert page.locator("#maps canvas").count() == 8 + 16 + 16 + 4 * 32 + 10
        maps.append(
            page.evaluate("[...document.querySelectorAll('#maps canvas')].map(c => c.toDataURL())")
        )
        page.click("#clear")
    assert maps[0] != maps[1]
    page.click("#work")
    assert not page.is_visible("#maps")
