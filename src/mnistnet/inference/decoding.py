"""Any file with a picture → grey levels, uint8 (H, W), within bounds of size and memory.

    grey = decode(Path("digit.jpg").read_bytes(), "digit.jpg")

Whatever the bytes are, this gives an array or raises a PictureError of one line.
"""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from mnistnet.errors import PictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000  # decoded; larger ones are refused unread
WORKING_PIXELS = 12_000_000  # larger ones are reduced by area before anything else
SHORTEST, LONGEST_RATIO = 3, 50  # pixels of the shorter side; longer over shorter side
NOT_BITMAPS = {b"%PDF": "a PDF", b"<svg": "an SVG drawing", b"<?xml": "an XML file"}


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
    _refuse_documents(content, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities that do not matter for a digit
            with Image.open(io.BytesIO(content), formats=_formats(content)) as picture:
                _check_size(*picture.size, name)
                return to_grey(picture)
    except PictureError:
        raise
    except Exception as error:  # decoders raise whatever a hostile file leads them to
        known = ", ".join(FORMATS)
        raise PictureError(
            f"{name}: is not a picture that can be read, or is damaged; send one of {known}"
        ) from error


def to_grey(picture: Image.Image) -> NDArray[np.uint8]:
    """Turn a Pillow picture of any mode into grey levels, uint8 (H, W), at most 12 megapixels."""
    pixels = picture.width * picture.height
    if pixels > WORKING_PIXELS:
        shrink = math.sqrt(WORKING_PIXELS / pixels)
        size = (max(1, int(picture.width * shrink)), max(1, int(picture.height * shrink)))
        picture.draft("L", size)  # a JPEG decodes to less at once
    upright = ImageOps.exif_transpose(picture)
    grey = _flattened(upright)
    factor = math.ceil(math.sqrt(grey.width * grey.height / WORKING_PIXELS))
    return np.asarray(grey.reduce(factor) if factor > 1 else grey, dtype=np.uint8)


def from_array(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Take a picture as an array: uint8 or bool, (H, W), or (H, W, 3 or 4) in RGB or RGBA.

    Raises:
        PictureError: it is of another type or shape.
    """
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise PictureError(f"the array is of type {array.dtype}; give grey levels 0–255 as uint8")
    if array.ndim == 3 and array.shape[2] in (3, 4) and array.size:
        return to_grey(Image.fromarray(array))
    if array.ndim != 2:
        raise PictureError(f"the array is of shape {array.shape}; give (H, W) or (H, W, 3)")
    _check_size(array.shape[1], array.shape[0], "the array")
    return np.ascontiguousarray(array)


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"{name}: is {width}×{height}, over {MAX_PIXELS // 10**6} megapixels; make it smaller"
        )
    short, long = sorted((width, height))
    if short < SHORTEST or long > LONGEST_RATIO * short:
        raise PictureError(f"{name}: is {width}×{height} pixels; no digit fits that, crop it anew")


def _refuse_documents(content: bytes, name: str) -> None:
    start = content[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, what in NOT_BITMAPS.items():
        if start.startswith(mark.lower()):
            raise PictureError(f"{name}: is {what}, not a picture of pixels; save it as PNG")
    if not content:
        raise PictureError(f"{name}: is empty")


def _formats(content: bytes) -> tuple[str, ...]:
    """Name the decoders to try: HEIC's is a plug-in, loaded only for a file that asks for it."""
    if content[4:8] != b"ftyp":
        return FORMATS
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return FORMATS
    register_heif_opener()
    return (*FORMATS, "HEIF")


def _flattened(picture: Image.Image) -> Image.Image:
    """Lay transparency on white, and bring any mode to 8-bit grey."""
    if picture.mode.startswith(("I", "F")):
        return _from_deep(np.asarray(picture))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    return picture.convert("L")  # Rec. 601


def _from_deep(levels: NDArray[np.generic]) -> Image.Image:
    """Bring 16-bit, 32-bit and floating-point grey to 8 bits, by the range that it uses."""
    values = np.nan_to_num(levels.astype(np.float64))
    top = float(values.max(initial=0.0))
    full = next((f for f in (1.0, 255.0, 65_535.0) if top <= f), top)
    if levels.dtype.kind in "iu" and full == 1.0:
        full = 255.0
    return Image.fromarray((values.clip(0) * (255 / full)).round().astype(np.uint8))
