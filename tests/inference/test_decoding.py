"""Whatever a picture is saved as, the same grey levels come out of it."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from drawing import FORMATS, encoded
from PIL import Image

from mnistnet.errors import PictureError
from mnistnet.inference import decoding
from mnistnet.inference.decoding import to_grey


def _grey(picture: Image.Image, kind: str = "PNG", **options: object) -> np.ndarray:
    return to_grey(encoded(picture, kind, **options))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_picture_that_was_saved(
    kind: str, four: Image.Image, files: dict[str, bytes]
) -> None:
    grey = to_grey(files[kind]).astype(int)
    assert grey.shape == (280, 200)
    tolerance = 60 if kind in ("JPEG", "WEBP", "AVIF") else 0  # these lose something
    assert np.abs(grey - np.asarray(four)).max() <= tolerance


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_taken(kind: str, four: Image.Image) -> None:
    other = Image.new("L", four.size, 255)
    assert _grey(four, kind, save_all=True, append_images=[other, other]).min() < 60


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind: str, orientation: int, four: Image.Image) -> None:
    stored_as = {  # what a camera held that way stores, by the definition of EXIF 2.3
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = four if stored_as is None else four.transpose(stored_as)
    exif = Image.Exif()
    exif[274] = orientation
    grey = _grey(stored, kind, exif=exif)
    assert grey.shape == (280, 200)
    assert np.abs(grey.astype(int) - np.asarray(four)).mean() < 3


def test_colour_becomes_grey_by_the_luma_of_rec_601() -> None:
    for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 200, 90)]:
        luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        assert abs(int(_grey(Image.new("RGB", (9, 9), colour))[4, 4]) - luma) <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_laid_on_white(kind: str) -> None:
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 128), (0, 0, 8, 16))
    grey = _grey(clear, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert grey[8, 12] == 255
    assert abs(int(grey[8, 3]) - 127) <= 1


def test_transparency_in_grey_and_in_palettes_is_laid_on_white_too() -> None:
    assert _grey(Image.new("LA", (9, 9), (0, 0)))[4, 4] == 255
    palette = Image.new("P", (9, 9), 1)
    palette.putpalette([0, 0, 0, 50, 50, 50])
    assert _grey(palette)[4, 4] == 50
    assert _grey(palette, transparency=1)[4, 4] == 255
    assert _grey(palette, "GIF", transparency=1)[4, 4] == 255
    assert _grey(Image.new("RGB", (9, 9), (7, 7, 7)), transparency=(7, 7, 7))[4, 4] == 255


def test_ten_to_32_bits_and_fractions_become_eight_bits(four: Image.Image) -> None:
    levels = np.asarray(four)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(_grey(Image.fromarray(levels.astype(np.uint16) * 257), kind), levels)
    for bits in (10, 12, 14):
        scanned = Image.fromarray(levels.astype(np.uint16) << (bits - 8))
        assert np.abs(_grey(scanned, "TIFF").astype(int) - levels).max() <= 1
    assert np.array_equal(_grey(Image.fromarray(levels.astype(np.int32)), "TIFF"), levels)
    fractions = (levels / 255).astype(np.float32)
    fractions[0, :3] = [np.nan, np.inf, -np.inf]
    assert np.array_equal(_grey(Image.fromarray(fractions), "TIFF")[1:], levels[1:])


def test_one_bit_palettes_and_cmyk_become_grey(four: Image.Image) -> None:
    levels = np.asarray(four).astype(int)
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        bits = _grey(four.point(lambda level: 255 * (level > 128), "1"), kind)
        assert np.array_equal(bits, 255 * (levels > 128))
    assert np.abs(_grey(four.convert("P")) - levels).max() <= 1
    for kind in ("JPEG", "TIFF"):
        cmyk = four.convert("RGB").convert("CMYK")
        assert np.abs(_grey(cmyk, kind) - levels).max() <= 60
        assert np.abs(_grey(cmyk, kind) - levels).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "image", "array"])
def test_above_12_megapixels_it_is_reduced_by_area_averaging(kind: str) -> None:
    board = np.zeros((4000, 4400), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255  # squares of one pixel: their average is grey
    image = Image.fromarray(board)
    if kind in FORMATS:
        grey = _grey(image, kind, compress_level=1)
    else:
        grey = to_grey(board if kind == "array" else image)
    assert 3_000_000 < grey.size <= 12_000_000
    assert np.abs(grey.astype(int) - 127).max() <= 3
    assert abs(grey.shape[1] / grey.shape[0] - 1.1) < 0.01


def test_an_array_of_grey_levels_of_booleans_or_of_colour_is_a_picture() -> None:
    grey = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert np.array_equal(to_grey(grey), grey)
    assert np.array_equal(to_grey(grey[::-1].T), grey[::-1].T)
    assert np.array_equal(to_grey(grey > 50), 255 * (grey > 50))
    assert np.array_equal(to_grey(np.dstack([grey] * 3)), grey)
    assert np.array_equal(to_grey(np.dstack([grey] * 3 + [grey * 0])), np.full((10, 10), 255))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 9)), "of type float64"),
        (np.array([["a"]]), "of type <U1"),
        (np.zeros(9, np.uint8), "of shape (9,)"),
        (np.zeros((9, 9, 2), np.uint8), "of shape (9, 9, 2)"),
        (np.zeros((2, 9, 9, 3), np.uint8), "of shape (2, 9, 9, 3)"),
        (np.zeros((0, 9, 3), np.uint8), "is 9×0"),
        (np.zeros((1, 100_000, 3), np.uint8), "is 100000×1"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000)), "over 64 megapixels"),
    ],
)
def test_an_array_of_another_type_or_shape_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(PictureError) as refused:
        to_grey(array)
    assert str(refused.value).startswith("the array: ")
    assert message in str(refused.value)


def test_only_the_decoder_of_the_format_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    open_with = Image.open
    monkeypatch.setattr(
        decoding.Image, "open", lambda f, formats: (used.append(formats), open_with(f))[1]
    )
    _grey(Image.new("L", (9, 9)), "WEBP")
    assert used == [("WEBP",)]


def test_a_users_image_is_left_as_it_was() -> None:
    large = Image.open(io.BytesIO(encoded(Image.new("RGB", (4000, 4000), "red"), "JPEG")))
    to_grey(large)
    assert (large.mode, large.size) == ("RGB", (4000, 4000))


def test_heic_is_decoded_by_pillow_heif_or_the_message_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pixels = np.full((40, 60), 200, np.uint8)
    pixels[:, 20:30] = 30
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels).convert("RGB")).save(file, quality=95)
    assert np.abs(to_grey(file.getvalue()).astype(int) - pixels).mean() < 5
    with pytest.raises(PictureError, match=r"^the picture: is damaged"):
        to_grey(file.getvalue()[:200])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    with pytest.raises(PictureError, match="the picture: needs pillow-heif to be read; install it"):
        to_grey(file.getvalue())
