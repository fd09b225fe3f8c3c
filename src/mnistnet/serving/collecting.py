"""`mnistnet serve --collect DIR`: keep pictures that were misread, for `mnistnet eval --data DIR`.

    collection = Collection(Path("misread"))
    collection.add(7, content)               # misread/7/3f0c9d….png

Whoever reaches the service may send anything. So a picture is decoded, made smaller, and written
again: of what was sent only pixels are kept. Names come from these, and number and size of the
files are limited.
"""

from __future__ import annotations

import io
from threading import Lock
from typing import TYPE_CHECKING

from PIL import Image

from mnistnet.errors import FileError
from mnistnet.files import sha256, write_bytes
from mnistnet.inference.decoding import decode
from mnistnet.inference.folders import DIGITS
from mnistnet.serving.limits import MAX_PIXELS

if TYPE_CHECKING:
    from pathlib import Path

MAX_PICTURES = 10_000
MAX_BYTES = 200_000_000  # of all together
MAX_SIDE = 1200  # pixels of a picture that is kept; the page sends no larger ones
NAME_CHARACTERS = 32  # of a file: the start of its content's SHA-256


class CollectionFullError(FileError):
    """There is no room for another picture."""


class Collection:
    """A folder of pictures in sub-folders 0 to 9. May be used from several threads at once.

    Args:
        folder: made if it is missing; what is in its sub-folders already counts.
        max_pictures: how many it may hold.
        max_bytes: how large they may be together.

    Raises:
        FileError: the folder cannot be made or read.
    """

    def __init__(
        self, folder: Path, *, max_pictures: int = MAX_PICTURES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._folder, self._lock = folder, Lock()
        try:
            for digit in DIGITS:
                (folder / digit).mkdir(parents=True, exist_ok=True)
            sizes = [path.stat().st_size for d in DIGITS for path in (folder / d).iterdir()]
        except OSError as error:
            reason = error.strerror or str(error)
            raise FileError(f"{folder}: cannot collect pictures ({reason})") from error
        self._pictures_left = max_pictures - len(sizes)
        self._bytes_left = max_bytes - sum(sizes)

    def add(self, digit: int, picture: bytes) -> None:
        """Keep a picture of a digit, unless it is there already.

        Raises:
            PictureError: it is no picture.
            CollectionFullError: there is no room for it.
            FileError: it cannot be written.
        """
        content = _redraw(picture)
        path = self._folder / DIGITS[digit] / f"{sha256(content)[:NAME_CHARACTERS]}.png"
        with self._lock:
            if path.exists():
                return
            if not self._pictures_left or len(content) > self._bytes_left:
                raise CollectionFullError("the collection is full; its owner may empty it")
            write_bytes(path, content)
            self._pictures_left -= 1
            self._bytes_left -= len(content)


def _redraw(picture: bytes) -> bytes:
    """Decode a picture and encode its pixels, at most MAX_SIDE wide and high, as PNG."""
    image = Image.fromarray(decode(picture, "the picture", max_pixels=MAX_PIXELS))
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
