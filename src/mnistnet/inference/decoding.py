"""Any picture file → grey levels, uint8 (H, W), within bounds of size, memory and time.

    grey = decode(read_file(Path("digit.jpg")), "digit.jpg")

Whatever the bytes are, the result is an array, or a PictureError of one line.
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
    from pathlib import Path

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
MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000  # by the file's header; a larger picture is refused before it is decoded
MAX_TILE_PIXELS = 4096 * 4096  # of a TIFF, whose tiles may be larger than the picture
MAX_SCANS = 100  # of a JPEG: each costs a pass over all of it; cameras and programs write ten
WORKING_PIXELS = 12_000_000  # a larger picture is reduced by area averaging before all else
STRIP_PIXELS = 1_000_000  # converted at once, so that no second copy of a large one is needed
MIN_SIDE = 3  # pixels
MAX_ASPECT_RATIO = 50  # longer over shorter side
ORIENTATION, TILE_WIDTH, TILE_LENGTH = 274, 322, 323  # tags of EXIF and TIFF
START_OF_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e]")
UPRIGHT = {  # EXIF's orientation → what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WHITE = {  # mode → the levels that may be white: the least that no pixel exceeds is taken
    "I": (255.0, 1023.0, 4095.0, 16_383.0, 65_535.0),
    "F": (1.0, 255.0, 65_535.0),
}


def read_file(path: Path, name: str | None = None) -> bytes:
    """Return the bytes of a file; of one over MAX_FILE_BYTES, one byte more than these.

    Args:
        path: the file.
        name: what to call it in messages; by default its path.

    Raises:
        PictureError: there is no such file, it is not a plain one, or it cannot be read.
    """
    name = str(path) if name is None else name
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            raise PictureError(f"{name}: {_why_no_file(path)}")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in it
        raise PictureError(f"{name!r}: cannot be the name of a file") from error


def decode(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a picture file.

    EXIF orientation is applied, transparency is laid on white, colour becomes grey by the luma
    of Rec. 601, and of several frames the first is taken.

    Args:
        content: of a PNG, JPEG, WebP, BMP, TIFF or GIF, or HEIC where pillow-heif is installed.
        name: what to call it in messages.

    Returns:
        uint8 (H, W), 0 black to 255 white, of at most 12 megapixels.

    Raises:
        PictureError: it is none of these, damaged, or of an impossible size.
    """
    kind, module = _check_format(content, name)
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
    except Exception as error:  # a hostile file makes decoders raise anything
        raise _damaged(name) from error


def from_image(picture: Image.Image, name: str = "the picture") -> NDArray[np.uint8]:
    """Convert a Pillow picture of any mode to grey levels, uint8 (H, W), at most 12 megapixels.

    Raises:
        PictureError: it cannot be loaded, or is of an impossible size.
    """
    _check_size(*picture.size, name)
    tags = getattr(picture, "tag_v2", {})
    if tags.get(TILE_WIDTH, 0) * tags.get(TILE_LENGTH, 0) > MAX_TILE_PIXELS:
        raise PictureError(f"{name}: is a TIFF of too large tiles; save it again")
    try:
        picture.load()
        transpose = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1))  # a loaded TIFF is upright
        grey = _grey(picture)
    except Exception as error:  # as above
        raise _damaged(name) from error
    factor = math.ceil(math.sqrt(grey.width * grey.height / WORKING_PIXELS))
    small = grey.reduce(factor) if factor > 1 else grey
    return np.asarray(small if transpose is None else small.transpose(transpose), dtype=np.uint8)


def from_array(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Convert an array to grey levels, uint8 (H, W), at most 12 megapixels.

    Args:
        array: uint8 or bool, (H, W), or (H, W, 3 or 4) in RGB or RGBA.

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


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return "is a folder; give a picture in it"
    return "is not a plain file" if path.exists() else "there is no such file"


def _check_format(content: bytes, name: str) -> tuple[str, str]:
    """Find a file's format by how it starts, so that no other decoder ever sees the file."""
    if len(content) > MAX_FILE_BYTES:
        raise PictureError(f"{name}: is larger than {MAX_FILE_BYTES >> 20} MB; send a smaller one")
    if not content:
        raise PictureError(f"{name}: is empty")
    for start, (kind, module) in FORMATS.items():
        if re.match(start, content, re.DOTALL):
            if kind == "JPEG" and len(START_OF_SCAN.findall(content)) > MAX_SCANS:
                raise PictureError(f"{name}: is a JPEG of over {MAX_SCANS} scans; save it again")
            return kind, module
    for start, what in DOCUMENTS.items():
        if re.match(rb"(\xef\xbb\xbf)?\s{0,99}(" + start + rb")", content[:256], re.IGNORECASE):
            raise PictureError(f"{name}: is {what}, not a picture of pixels; save it as PNG")
    raise _damaged(name)


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(name)
    short, long = sorted((width, height))
    if short < MIN_SIDE or long > MAX_ASPECT_RATIO * short:
        raise PictureError(f"{name}: is {width}×{height} pixels; no digit fits that, crop it again")


def _too_large(name: str) -> PictureError:
    return PictureError(f"{name}: is over {MAX_PIXELS // 10**6} megapixels; make it smaller")


def _damaged(name: str) -> PictureError:
    return PictureError(
        f"{name}: is damaged, or not a picture that can be read;"
        " send PNG, JPEG, WebP, BMP, TIFF or GIF"
    )


def _draft(picture: Image.Image) -> None:
    """Have a large JPEG decoded at a half, a quarter or an eighth of its size."""
    scale = math.sqrt(WORKING_PIXELS / (picture.width * picture.height))
    if scale < 1:
        picture.draft("L", (int(picture.width * scale), int(picture.height * scale)))


def _grey(picture: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit grey, with transparency laid on white."""
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
    """Cut a picture into strips of its full width; yield the first row of each, and the strip."""
    rows = max(1, STRIP_PIXELS // picture.width)
    for y in range(0, picture.height, rows):
        yield y, picture.crop((0, y, picture.width, min(y + rows, picture.height)))


def _levels(strip: Image.Image) -> NDArray[np.float64]:
    """Return deep grey levels, from 0 up; NaN and infinities become 0."""
    levels = np.asarray(strip).astype(np.float64)
    return np.where(np.isfinite(levels), levels, 0).clip(0)


def _luma(strip: Image.Image) -> Image.Image:
    if strip.has_transparency_data:
        white = Image.new("RGBA", strip.size, "white")
        strip = Image.alpha_composite(white, strip.convert("RGBA"))
    if strip.mode not in ("1", "L", "RGB", "RGBA"):
        strip = strip.convert("RGB")
    return strip.convert("L")  # Rec. 601
