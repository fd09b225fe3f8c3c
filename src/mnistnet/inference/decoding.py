"""Any picture file → colours, uint8 (H, W, 4), within bounds of size, memory and time.

    rgba = to_rgba("digit.jpg")           # or bytes, a PIL image, an array

Whatever the bytes are, the result is an array, or a PictureError of one line.
"""

from __future__ import annotations

import io
import math
import re
import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from mnistnet.errors import PictureError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    Picture = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.generic]

FORMATS = {  # how a file starts → its format, and Pillow's module for it
    rb"\x89PNG": ("PNG", "PIL.PngImagePlugin"),
    rb"\xff\xd8\xff": ("JPEG", "PIL.JpegImagePlugin"),
    rb"RIFF....WEBP": ("WEBP", "PIL.WebPImagePlugin"),
    rb"BM": ("BMP", "PIL.BmpImagePlugin"),
    rb"II\*\0|MM\0\*": ("TIFF", "PIL.TiffImagePlugin"),
    rb"GIF8": ("GIF", "PIL.GifImagePlugin"),
    # The brands of an ISO base media file: the major one, a version, and the compatible ones.
    rb"....ftyp(....)*?avi[fs]": ("AVIF", "PIL.AvifImagePlugin"),
    rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)": ("HEIF", "pillow_heif"),  # where installed
}
DOCUMENTS = {
    rb"%pdf": "a PDF",
    rb"<svg": "an SVG drawing",
    rb"<\?xml|<!": "an XML file",
    rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ": "a film",
}
START_BYTES = 64  # of a file, by which its format is found
MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000  # by the file's header; a larger picture is refused before it is decoded
MAX_TILE_PIXELS = 4096 * 4096  # of a TIFF, whose tiles may be larger than the picture
MAX_SCANS = 100  # of a JPEG: each costs a pass over all of it; cameras and programs write ten
WORKING_PIXELS = 4_000_000  # a larger picture is reduced by area averaging before all else
STRIP_PIXELS = 1_000_000  # converted at once, so that no second copy of a large one is needed
MIN_SIDE = 3  # pixels
MAX_ASPECT_RATIO = 50  # longer over shorter side
# Tags of EXIF and TIFF.
ORIENTATION, TILE_WIDTH, TILE_LENGTH, SAMPLE_FORMAT = 274, 322, 323, 339
START_OF_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e]")
DEEP = ("I", "F")  # how the names of Pillow's modes of more than 8 bits start
# What may be white in a picture of more than 8 bits: the least level that no pixel exceeds by more
# than resampling makes of it.
WHITE, OVERSHOOT = (1.0, 255.0, 1023.0, 4095.0, 16_383.0, 65_535.0), 1.1
# Of 16 bits a channel Pillow keeps the high byte. Where it is, by Pillow's name → where the low is.
LOW_BYTE = {";16B": ";16L", ";16L": ";16B", ";16N": ";16" + "LB"[sys.byteorder == "little"]}
# libtiff has swapped the bytes of a compressed file already, but Pillow would swap them again.
NATIVE = {";16BS": ";16S", ";32BS": ";32S", ";32BF": ";32F"}
TOO_LARGE = "is over {} megapixels; make it smaller"
DAMAGED = "is damaged, or not a picture that can be read; send PNG, JPEG, WebP, BMP, TIFF or GIF"


def to_rgba(picture: Picture) -> NDArray[np.uint8]:
    """Convert a picture of any kind to red, green, blue and opacity, uint8 (H, W, 4).

    EXIF orientation is applied, what is larger than WORKING_PIXELS is reduced by area, and of
    several frames the first is taken.

    Args:
        picture: a path; the bytes of a PNG, JPEG, WebP, BMP, TIFF, GIF or AVIF, or HEIC
            where pillow-heif is installed; a PIL image; or an array, uint8 or bool, (H, W) of grey
            levels or (H, W, 3 or 4) of RGB or RGBA.

    Raises:
        PictureError: it is none of these, damaged, or of an impossible size.
    """
    if isinstance(picture, bytes):
        return decode(picture, "the picture")
    if isinstance(picture, Image.Image):
        with _errors_of("the picture"):
            return _convert(picture)
    if isinstance(picture, np.ndarray):
        with _errors_of("the array"):
            return _convert(_to_image(picture))
    return decode(read_file(Path(picture), str(picture)), str(picture))


def read_file(path: Path, name: str) -> bytes:
    """Return a file's bytes, at most MAX_FILE_BYTES + 1, or raise PictureError with its `name`."""
    try:
        if path.is_dir():
            raise PictureError(f"{name}: is a folder; give a picture in it")
        if not path.is_file():  # reading a pipe would wait for ever
            problem = "is not a plain file" if path.exists() else "there is no such file"
            raise PictureError(f"{name}: {problem}")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in it
        raise PictureError(f"{name!r}: cannot be the name of a file") from error


def decode(content: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Convert the bytes of a picture file, called `name` in messages, as `to_rgba` does."""
    with _errors_of(name):
        kind, module = _check_format(content)
        decoder = import_module(module)
        if kind == "HEIF":
            decoder.register_heif_opener()
        with _open(content, kind) as picture:
            _check(picture)
            if picture.width * picture.height > max_pixels:
                raise PictureError(TOO_LARGE.format(max_pixels // 10**6))
            if (factor := _reduction(picture)) > 1:  # a JPEG is decoded at a half, a quarter, …
                picture.draft(None, (picture.width // factor, picture.height // factor))
            if sys.byteorder == "little" and "libtiff" in [t.codec_name for t in picture.tile]:
                _rename_layouts(picture, NATIVE)
            return _convert(picture, _low_bytes(content, picture))


def _open(content: bytes, kind: str | None) -> ImageFile:
    return Image.open(io.BytesIO(content), formats=(str(kind),))


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Turn whatever the block raises into a PictureError that starts with a name."""
    try:
        yield
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: {TOO_LARGE.format(MAX_PIXELS // 10**6)}") from error
    except ModuleNotFoundError as error:
        package = str(error.name).replace("_", "-")
        raise PictureError(f"{name}: needs {package} to be read; install it") from error
    except Exception as error:  # a hostile file makes decoders raise anything
        raise PictureError(f"{name}: {DAMAGED}") from error


def _check_format(content: bytes) -> tuple[str, str]:
    """Find a file's format by how it starts, so that no other decoder ever sees the file."""
    if not content:
        raise PictureError("is empty")
    if len(content) > MAX_FILE_BYTES:
        raise PictureError(f"is larger than {MAX_FILE_BYTES >> 20} MB; send a smaller one")
    if found := find_format(content):
        if found[0] == "JPEG" and len(START_OF_SCAN.findall(content)) > MAX_SCANS:
            raise PictureError(f"is a JPEG of over {MAX_SCANS} scans; save it again")
        return found
    for start, what in DOCUMENTS.items():
        pattern = rb"(\xef\xbb\xbf)?\s{0,99}(" + start + rb")"
        if re.match(pattern, content[:256], re.IGNORECASE | re.DOTALL):
            raise PictureError(f"is {what}, not a picture of pixels; save it as PNG")
    raise PictureError(DAMAGED)


def find_format(content: bytes) -> tuple[str, str] | None:
    """Return the format that a file's first bytes show, and Pillow's module for it, if any."""
    start = content[:START_BYTES]
    return next((f for pattern, f in FORMATS.items() if re.match(pattern, start, re.DOTALL)), None)


def _check(picture: Image.Image) -> None:
    """Refuse a picture of an impossible size before it is decoded."""
    _check_size(*picture.size)
    tags = getattr(picture, "tag_v2", {})
    if tags.get(TILE_WIDTH, 0) * tags.get(TILE_LENGTH, 0) > MAX_TILE_PIXELS:
        raise PictureError("is a TIFF of too large tiles; save it again")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(TOO_LARGE.format(MAX_PIXELS // 10**6))
    short, long = sorted((width, height))
    if short < MIN_SIDE or long > MAX_ASPECT_RATIO * short:
        raise PictureError(f"is {width}×{height} pixels; no digit fits that, crop it again")


def _to_image(array: NDArray[np.generic]) -> Image.Image:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise PictureError(f"is of type {array.dtype}; give grey levels 0–255 as uint8")
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        raise PictureError(f"is of shape {array.shape}; give (H, W) or (H, W, 3)")
    _check_size(array.shape[1], array.shape[0])
    return Image.fromarray(np.ascontiguousarray(array))


def _low_bytes(content: bytes, picture: ImageFile) -> Image.Image | None:
    """Read the low bytes of a picture, not loaded yet, of whose 16 bits Pillow keeps the high ones.

    Returns:
        The low bytes in the channels of `picture`; None where it has no more than the high ones.
    """
    if picture.mode[0] in DEEP or not any(";16" in str(tile.args) for tile in picture.tile):
        return None
    with _open(content, picture.format) as low:
        if low.tile[0].args == "LA;16B":  # read as four channels of 8 bits
            low.tile = [tile._replace(args="RGBA") for tile in low.tile]
            _, grey, _, alpha = low.split()
            return Image.merge("RGBA", (grey, grey, grey, alpha))
        _rename_layouts(low, LOW_BYTE)
        low.load()
        return low


def _rename_layouts(picture: ImageFile, names: Mapping[str, str]) -> None:
    """Have a picture that is not loaded yet read its bytes otherwise, by Pillow's names."""
    for i, tile in enumerate(picture.tile):
        layout, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        renamed = re.sub("|".join(names), lambda name: names[name[0]], str(layout))
        picture.tile[i] = tile._replace(args=(renamed, *rest))


def _convert(picture: Image.Image, low: Image.Image | None = None) -> NDArray[np.uint8]:
    """Convert a picture of any mode to upright colours (H, W, 4); `low` is of `_low_bytes`."""
    _check(picture)
    picture.load()
    deep = low is not None or picture.mode[0] in DEEP
    rgba = Image.new("RGBA", picture.size)
    for y, strip in _in_eight_bits(picture, low) if deep else _strips(picture):
        rgba.paste(_to_rgba(strip), (0, y))
    rgba = rgba.reduce(_reduction(rgba))
    rgba.getexif()[ORIENTATION] = picture.getexif().get(ORIENTATION, 1)  # 1: upright
    return np.asarray(ImageOps.exif_transpose(rgba), dtype=np.uint8)


def _reduction(picture: Image.Image) -> int:
    """Return by how much height and width are divided."""
    return math.ceil(math.sqrt(picture.width * picture.height / WORKING_PIXELS))


def _strips(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut a picture into strips of its full width; yield the first row of each, and the strip."""
    rows = max(1, STRIP_PIXELS // picture.width)
    for y in range(0, picture.height, rows):
        yield y, picture.crop((0, y, picture.width, min(y + rows, picture.height)))


def _in_eight_bits(
    picture: Image.Image, low: Image.Image | None
) -> Iterator[tuple[int, Image.Image]]:
    """Yield the strips of a picture of more bits, scaled by the range of levels that it uses."""
    ranges = [(v.min((0, 1)), v.max((0, 1))) for _, v in _levels(picture, low)]
    black = min(0.0, *(least.min() for least, _ in ranges))
    tops = np.max([most for _, most in ranges], axis=0) - black
    colours = len(tops) - (picture.mode[-1] in "Aa")  # have one range, and alpha its own
    tops[:colours] = tops[:colours].max()
    clear = picture.info.get("transparency")  # levels, in a PNG
    known = WHITE if black == 0 else ()  # with levels below 0, the whole range is taken
    white = np.array([next((w for w in known if top <= OVERSHOOT * w), top or 1) for top in tops])
    for y, levels in _levels(picture, low):
        scaled = ((levels - black) * (255 / white)).round().clip(0, 255).astype(np.uint8)
        bands = [Image.fromarray(scaled[..., i]) for i in range(len(white))]
        strip = Image.merge(picture.mode if low else "L", bands)
        if isinstance(clear, int | tuple):
            shown = (levels != clear).any(axis=2)
            strip.putalpha(Image.fromarray(np.uint8(255) * shown))
        yield y, strip


def _levels(
    picture: Image.Image, low: Image.Image | None
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the levels (H, W, channels) of each strip; NaN and infinities become 0."""
    tags = getattr(picture, "tag_v2", {})
    unsigned = picture.mode == "I" and tags and tags.get(SAMPLE_FORMAT, (1,)) == (1,)
    for y, strip in _strips(picture):
        pixels = np.asarray(strip)
        levels = (pixels.view(np.uint32) if unsigned else pixels).astype(np.float64)
        if low:
            levels = 256 * levels + np.asarray(low.crop((0, y, low.width, y + strip.height)))
        yield y, np.where(np.isfinite(levels), levels, 0).reshape(*levels.shape[:2], -1)


def _to_rgba(strip: Image.Image) -> Image.Image:
    if strip.mode == "La":  # Pillow converts it to nothing else
        strip = strip.convert("LA")
    if strip.mode not in ("1", "L", "LA", "RGB", "RGBA") and not strip.has_transparency_data:
        strip = strip.convert("RGB")
    return strip.convert("RGBA")


def on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay colours (H, W, 4) on white, and return their luma (Rec. 601): grey levels (H, W)."""
    picture = Image.fromarray(rgba)
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB").convert("L"))
