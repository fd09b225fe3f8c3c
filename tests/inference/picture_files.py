"""Pictures as the bytes of files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of a file that holds a picture."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
