"""Any file with a picture → grey levels, uint8 (H, W), within bounds of size, memory and time.

    grey = decode(Path("digit.jpg").read_bytes(), "digit.jpg")

Whatever the bytes are, this gives an array or raises a PictureError of one line.
"""

from __future__ import annotations

import io
import math
import re
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mnistnet.errors import PictureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FORMATS = {  # how a file starts → its format, and Pillow's module for it
    rb"\x89PNG": ("PNG", "PIL.PngImagePlugin"),
    rb"\xff\xd8\xff": ("JPEG", "PIL.JpegImagePlugin"),
    rb"RIFF....WEBP": ("WEBP", "PIL.WebPImagePlugin"),
    rb"BM": ("BMP", "PIL.BmpImagePlugin"),
    rb"II\*\0|MM\0\*": ("TIFF", "PIL.TiffImagePlugin"),
    rb"GIF8": ("GIF", "PIL.GifImagePlugin"),
    rb"....ftyp": ("HEIF", "pillow_heif"),  # where that is installed
}
DOCUMENTS = {rb"%pdf": "a PDF", rb"<svg": "an SVG drawing", rb"<\?xml|<!": "an XML file"}
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"}
KNOWN = "PNG, JPEG, WebP, BMP, TIFF or GIF"
MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000  # as the file declares them; larger ones are refused unread
MAX_TILE_PIXELS = 4096 * 4096  # of a TIFF, whose tiles may be larger than the picture
MAX_SCANS = 100  # of a JPEG: each costs a walk over all of it; cameras and programs write ten
WORKING_PIXELS = 12_000_000  # larger ones are reduced by area before anything else
STRIP_PIXELS = 1_000_000  # converted at once, so that no second copy of a large one is needed
SHORTEST, LONGEST_RATIO = 3, 50  # pixels of the shorter side; longer over shorter side
ORIENTATION, TILE_WIDTH, TILE_LENGTH = 274, 322, 323  # tags of EXIF and TIFF
START_OF_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e]")
UPRIGHT = {  # EXIF's orientation → what turns the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WHITE = {  # what may be the highest level: of so many bits as are used, or a fraction
    "I": (255.0, 1023.0, 4095.0, 16_383.0, 65_535.0),
    "F": (1.0, 255.0, 65_535.0),
}


def decode(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a picture's bytes.

    EXIF orientation is honoured, transparency is laid on white, colour becomes grey by the luma
    of Rec. 601, and of several frames the first is taken.

    Args:
        content: of a PNG, JPEG, WebP, BMP, TIFF or GIF, or HEIC where pillow-heif is installed.
        name: what to call it in messages.

    Returns:
        uint8 (H, W), 0 black to 255 white, of at most 12 megapixels.

    Raises:
        PictureError: it is none of these, damaged, or of an impossible size.
    """
    if len(content) > MAX_FILE_BYTES:
        raise PictureError(f"{name}: is larger than {MAX_FILE_BYTES >> 20} MB; send a smaller one")
    kind, module = _format_of(content, name)
    if kind == "JPEG" and len(START_OF_SCAN.findall(content)) > MAX_SCANS:
        raise PictureError(f"{name}: is a JPEG of over {MAX_SCANS} scans; save it anew")
    try:
        decoder = import_module(module)
        if kind == "HEIF":
            decoder.register_heif_opener()
        with Image.open(io.BytesIO(content), formats=(kind,)) as picture:
            _check_size(*picture.size, name)
            _draft(picture)
            return from_image(picture, name)
    except PictureError:
        raise
    except ModuleNotFoundError as error:
        raise PictureError(f"{name}: needs pillow-heif to be read; install it") from error
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except Exception as error:  # decoders raise whatever a hostile file leads them to
        raise _damaged(name) from error


def from_image(picture: Image.Image, name: str = "the picture") -> NDArray[np.uint8]:
    """Turn a Pillow picture of any mode into grey levels, uint8 (H, W), at most 12 megapixels.

    Raises:
        PictureError: it cannot be loaded, or is of an impossible size.
    """
    _check_size(*picture.size, name)
    try:
        _check_tiles(picture, name)
        picture.load()
        turn = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1))  # TIFF is upright once loaded
        grey = _grey(picture)
    except PictureError:
        raise
    except Exception as error:  # as above
        raise _damaged(name) from error
    factor = math.ceil(math.sqrt(grey.width * grey.height / WORKING_PIXELS))
    small = grey.reduce(factor) if factor > 1 else grey
    return np.asarray(small if turn is None else small.transpose(turn), dtype=np.uint8)


def from_array(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Take a picture as an array: uint8 or bool, (H, W), or (H, W, 3 or 4) in RGB or RGBA.

    Raises:
        PictureError: it is of another type or shape, or of an impossible size.
    """
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise PictureError(f"the array is of type {array.dtype}; give grey levels 0–255 as uint8")
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        raise PictureError(f"the array is of shape {array.shape}; give (H, W) or (H, W, 3)")
    _check_size(array.shape[1], array.shape[0], "the array")
    return from_image(Image.fromarray(np.ascontiguousarray(array)), "the array")


def _format_of(content: bytes, name: str) -> tuple[str, str]:
    """Tell a file's format by how it starts, so that no other decoder ever sees it."""
    for start, (kind, module) in FORMATS.items():
        if re.match(start, content, re.DOTALL):
            return kind, module
    if not content:
        raise PictureError(f"{name}: is empty")
    for start, what in DOCUMENTS.items():
        if re.match(rb"(\xef\xbb\xbf)?\s{0,99}(" + start + rb")", content[:256], re.IGNORECASE):
            raise PictureError(f"{name}: is {what}, not a picture of pixels; save it as PNG")
    raise _damaged(name)


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(name)
    short, long = sorted((width, height))
    if short < SHORTEST or long > LONGEST_RATIO * short:
        raise PictureError(f"{name}: is {width}×{height} pixels; no digit fits that, crop it anew")


def _check_tiles(picture: Image.Image, name: str) -> None:
    tags = getattr(picture, "tag_v2", {})
    if tags.get(TILE_WIDTH, 0) * tags.get(TILE_LENGTH, 0) > MAX_TILE_PIXELS:
        raise PictureError(f"{name}: is a TIFF of too large tiles; save it anew")


def _too_large(name: str) -> PictureError:
    return PictureError(f"{name}: is over {MAX_PIXELS // 10**6} megapixels; make it smaller")


def _damaged(name: str) -> PictureError:
    return PictureError(f"{name}: is damaged, or not a picture that can be read; send {KNOWN}")


def _draft(picture: Image.Image) -> None:
    """Let a large JPEG be decoded to a half, a quarter or an eighth of its size at once."""
    shrink = math.sqrt(WORKING_PIXELS / (picture.width * picture.height))
    if shrink < 1:
        picture.draft("L", (int(picture.width * shrink), int(picture.height * shrink)))


def _grey(picture: Image.Image) -> Image.Image:
    """Bring any mode to 8-bit grey, with transparency laid on white."""
    grey = Image.new("L", picture.size)
    if picture.mode[0] in WHITE:  # 16 and 32 bits, and floating point
        top = max(float(_levels(strip).max(initial=0)) for _, strip in _strips(picture))
        white = next((level for level in WHITE[picture.mode[0]] if top <= level), top)
        for y, strip in _strips(picture):
            levels = (_levels(strip) * (255 / white)).round().astype(np.uint8)
            grey.paste(Image.fromarray(levels), (0, y))
    else:
        for y, strip in _strips(picture):
            grey.paste(_luma(strip), (0, y))
    return grey


def _strips(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut a picture in strips as wide as it is, with the row at which each starts."""
    rows = max(1, STRIP_PIXELS // picture.width)
    for y in range(0, picture.height, rows):
        yield y, picture.crop((0, y, picture.width, min(y + rows, picture.height)))


def _levels(strip: Image.Image) -> NDArray[np.float64]:
    """Give deep grey levels, from 0 up; what is no number is black."""
    levels = np.asarray(strip).astype(np.float64)
    return np.where(np.isfinite(levels), levels, 0).clip(0)


def _luma(strip: Image.Image) -> Image.Image:
    if strip.has_transparency_data:
        white = Image.new("RGBA", strip.size, "white")
        strip = Image.alpha_composite(white, strip.convert("RGBA"))
    if strip.mode not in ("1", "L", "RGB", "RGBA"):
        strip = strip.convert("RGB")
    return strip.convert("L")  # Rec. 601
