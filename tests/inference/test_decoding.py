"""Whatever a picture is saved as, the same grey levels come out of it."""

from __future__ import annotations

import io
import itertools
import struct
import sys
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from drawing import FORMATS, encoded
from PIL import Image, ImageOps

from mnistnet import Predictor
from mnistnet.errors import PictureError
from mnistnet.inference import decoding
from mnistnet.inference.decoding import on_white, to_rgba


def _grey_of(picture: decoding.Picture) -> np.ndarray:
    return on_white(to_rgba(picture))


def _grey(picture: Image.Image, kind: str = "PNG", **options: object) -> np.ndarray:
    return _grey_of(encoded(picture, kind, **options))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_picture_that_was_saved(
    kind: str, four: Image.Image, files: dict[str, bytes]
) -> None:
    grey = _grey_of(files[kind]).astype(int)
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
def test_above_4_megapixels_it_is_reduced_by_area_averaging(kind: str) -> None:
    board = np.zeros((3600, 3960), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255  # squares of one pixel: their average is grey
    image = Image.fromarray(board)
    if kind in FORMATS:
        grey = _grey(image, kind, compress_level=1)
    else:
        grey = _grey_of(board if kind == "array" else image)
    assert 3_000_000 < grey.size <= 4_000_000
    assert np.abs(grey.astype(int) - 127).max() <= 3
    assert abs(grey.shape[1] / grey.shape[0] - 1.1) < 0.01


def test_an_array_of_grey_levels_of_booleans_or_of_colour_is_a_picture() -> None:
    grey = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert np.array_equal(_grey_of(grey), grey)
    assert np.array_equal(_grey_of(grey[::-1].T), grey[::-1].T)
    assert np.array_equal(_grey_of(grey > 50), 255 * (grey > 50))
    assert np.array_equal(_grey_of(np.dstack([grey] * 3)), grey)
    assert np.array_equal(_grey_of(np.dstack([grey] * 3 + [grey * 0])), np.full((10, 10), 255))


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
        _grey_of(array)
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
    _grey_of(large)
    assert (large.mode, large.size) == ("RGB", (4000, 4000))


def test_heic_is_decoded_by_pillow_heif_or_the_message_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pixels = np.full((40, 60), 200, np.uint8)
    pixels[:, 20:30] = 30
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels).convert("RGB")).save(file, quality=95)
    assert np.abs(_grey_of(file.getvalue()).astype(int) - pixels).mean() < 5
    with pytest.raises(PictureError, match=r"^the picture: is damaged"):
        _grey_of(file.getvalue()[:200])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    with pytest.raises(PictureError, match="the picture: needs pillow-heif to be read; install it"):
        _grey_of(file.getvalue())


# ---- ink that can be seen is read, however many bits and channels it is saved in

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG's types of colour
CHANNELS = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}
IS_GREY, IS_RGB, IS_CMYK = 1, 2, 5  # TIFF's photometric interpretations
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # TIFF's formats of samples


def png(samples: np.ndarray, colour: int, bits: int, clear: bytes = b"") -> bytes:
    """Return a PNG file of whole numbers (H, W, channels), of 1 to 16 bits each.

    The levels `clear` are transparent.
    """
    height, width, _ = samples.shape
    planes = samples[..., None] >> np.arange(bits)[::-1] & 1  # the highest bit first
    rows = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    palette = bytes(255 * i // (2**bits - 1) for i in range(2**bits) for _ in range(3))
    chunks = {b"IHDR": header} | ({b"PLTE": palette} if colour == PALETTE else {})
    chunks |= {b"tRNS": clear} if clear else {}
    chunks |= {
        b"IDAT": zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks.items()
    )


def tiff(samples: np.ndarray, photometric: int, extra: int | None, *, deflated: bool) -> bytes:
    """Return a TIFF file of numbers (H, W, channels), in their own byte order."""
    order = ">" if samples.dtype.byteorder == ">" else "<"
    height, width, channels = samples.shape
    kind = {"i": SIGNED, "f": FLOAT}.get(samples.dtype.kind, UNSIGNED)
    body = zlib.compress(samples.tobytes()) if deflated else samples.tobytes()
    tags = {256: [width], 257: [height], 258: [samples.itemsize * 8] * channels}
    tags |= {259: [8 if deflated else 1], 262: [photometric], 273: [8], 277: [channels]}
    tags |= {279: [len(body)], **({} if extra is None else {338: [extra]}), 339: [kind] * channels}
    place = 8 + len(body)
    entries, longer = b"", b""
    for tag, values in tags.items():
        field = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            longer, field = longer + field, struct.pack(f"{order}I", place + len(longer))
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + field
    head = struct.pack(f"{order}2sHI", b"MM" if order == ">" else b"II", 42, place + len(longer))
    return head + body + longer + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def between(black: float, white: float, levels: np.ndarray) -> np.ndarray:
    """Return levels of 0 to 255 (H, W) in another range (H, W, 1)."""
    numbers = black + levels[..., None] / 255 * (white - black)
    return numbers if isinstance(black + white, float) else numbers.round().astype(np.int64)


def pngs(levels: np.ndarray) -> Iterator[tuple[str, bytes]]:
    for bits in (1, 2, 4, 8):
        samples = between(0, 2**bits - 1, levels)
        yield f"PNG, grey {bits}", png(samples, GREY, bits)
        yield f"PNG, palette {bits}", png(samples, PALETTE, bits)
    for used, colour in itertools.product((8, 12, 16), CHANNELS):
        samples = np.repeat(between(0, 2**used - 1, levels), CHANNELS[colour], axis=2)
        for opaque in (2**used - 1, 65_535) if colour in (GREY_ALPHA, RGBA) else ():
            samples[..., -1] = opaque
            yield f"PNG, {colour}, {used} of 16 bits, {opaque}", png(samples, colour, 16)
        if colour in (GREY, RGB):
            yield f"PNG, {colour}, {used} of 16 bits", png(samples, colour, 16)
    for colour in (GREY, RGB):
        channels = CHANNELS[colour]
        dark = np.repeat(np.where(levels < 128, 5000, 0)[..., None], channels, axis=2)
        yield f"PNG, {colour}, clear black paper", png(dark, colour, 16, bytes(2 * channels))
    for used, bits in ((8, 8), (8, 16), (16, 16)):
        ink = between(2**used - 1, 0, levels)
        content = png(np.concatenate([ink * 0, ink], axis=2), GREY_ALPHA, bits)
        yield f"PNG, ink in alpha, {used} of {bits} bits", content


def tiffs(levels: np.ndarray) -> Iterator[tuple[str, bytes]]:
    for order, deflated in (("<", False), (">", True)):
        name = f"TIFF {order}{', deflated' if deflated else ''}, "
        for white in (255, 1023, 65_535):
            for photometric, extra, channels in (
                *((IS_GREY, None, 1), (IS_RGB, None, 3), (IS_RGB, 0, 4), (IS_CMYK, None, 4)),
                *((IS_RGB, 1, 4), (IS_RGB, 2, 4)),  # with alpha
            ):
                deep = np.repeat(between(0, white, levels), channels, axis=2)
                deep[..., 3:] = white if extra else deep[..., :1]
                content = tiff(deep.astype(f"{order}u2"), photometric, extra, deflated=deflated)
                yield f"{name}{photometric} with {extra}, {white}", content
        for kind, black, white in (
            *(("i2", 0, 255), ("i2", -(2**15), 2**15 - 1), ("i4", 0, 2**31 - 1)),
            *(("u4", 0, 255), ("u4", 0, 65_535), ("u4", 0, 2**32 - 1)),
            *(("f4", 0, 1), ("f4", 0, 255), ("f4", -1, 1), ("f4", -1, 0), ("f4", 0, 1e30)),
            *(("f4", -0.05, 1.05), ("f4", 0, 1.05)),  # as resampling leaves them
        ):
            if not (kind == "u4" and order == ">"):  # which Pillow cannot read
                numbers = between(black, white, levels).astype(order + kind)
                content = tiff(numbers, IS_GREY, None, deflated=deflated)
                yield f"{name}{kind} {black} to {white}", content


def images(levels: np.ndarray) -> Iterator[tuple[str, Image.Image]]:
    image = Image.fromarray(levels)
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"):
        yield f"image {mode}", image.convert(mode)
    yield "image RGBa", image.convert("RGBA").convert("RGBa")
    yield "image La", image.convert("LA").convert("La")
    yield "image PA", image.convert("P").convert("PA")


@pytest.mark.parametrize("made", [pngs, tiffs, images], ids=lambda made: made.__name__)
def test_ink_is_read_and_a_black_page_has_none_whatever_the_bits_and_channels(
    made: Callable[[np.ndarray], Iterator[tuple[str, bytes | Image.Image]]],
    predictor: Predictor,
    four: Image.Image,
) -> None:
    levels = np.asarray(ImageOps.autocontrast(four))  # from 0 to 255
    digits = {name: predictor.predict(picture).digit for name, picture in made(levels)}
    assert digits == dict.fromkeys(digits, 4)
    for name, picture in made(np.zeros((60, 60), np.uint8)):
        assert predictor.predict(picture).digit is None, name
