"""Ink that can be seen is read, however many bits and channels it is saved in."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image, ImageOps

from mnistnet import Predictor

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
