"""IDX, MNIST's file format: `read(path, (28, 28))`, `write(path, array)`.

A header of big-endian numbers, then the array's bytes, the last dimension fastest:

    00 00 08 03    two zeros, the type (08: unsigned bytes), the number of dimensions
    00 00 EA 60    their sizes: 60,000 …
    00 00 00 1C    … × 28 …
    00 00 00 1C    … × 28
    00 00 00 …     47,040,000 pixels

A file may be gzipped; its first two bytes show it, whatever its name. A file may be hostile:
nothing is allocated before its size is checked, and no more is decompressed than the header
promises.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import textwrap
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistnet.errors import DataError
from mnistnet.files import write_bytes

if TYPE_CHECKING:
    from io import BufferedIOBase
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

UNSIGNED_BYTES = 0x0800
GZIP_MAGIC = b"\x1f\x8b"
GZIP = 31  # what zlib calls that format
MAX_ITEMS = 1_000_000  # four times the largest digit set (EMNIST's 240,000); 784 MB of images
CHUNK_BYTES = 1 << 17  # stays in the processor's cache, and in memory that is used again


def read(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Args:
        path: the file.
        item_shape: what each item must be: (28, 28) for images, () for labels.

    Returns:
        uint8 (N, *item_shape), N at least 1.

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    try:
        with _open(path) as file:
            shape = _read_shape(file, 1 + len(item_shape), str(path))
            check_shape(shape, item_shape, str(path))
            return read_array(file, shape, np.uint8, str(path))
    except (OSError, EOFError, zlib.error) as error:
        raise read_error(str(path), error) from error


def read_array(
    file: BufferedIOBase, shape: tuple[int, ...], dtype: DTypeLike, where: str
) -> NDArray[Any]:
    """Read the rest of an open file, which must be exactly one array in C order.

    Raises:
        DataError: the file is shorter or longer; `where` names it.
    """
    array = np.empty(shape, dtype)
    view = array.reshape(-1).view(np.uint8).data
    offset = 0
    while size := file.readinto(view[offset : offset + CHUNK_BYTES]):
        offset += size
    if offset < len(view):
        raise DataError(f"{where}: is cut short, {offset:,} of {len(view):,} bytes; get it again")
    if file.read(1):  # this also reads a gzip stream to its end, where its checksum is compared
        raise DataError(f"{where}: goes on after its {shape[0]:,} items; get it again")
    return array


def check_shape(shape: tuple[int, ...], item_shape: tuple[int, ...], where: str) -> None:
    """Refuse a shape other than (1 to MAX_ITEMS, *item_shape) before anything is allocated.

    Raises:
        DataError: the shape is another one; `where` names its file.
    """
    if len(shape) != 1 + len(item_shape) or shape[1:] != item_shape:
        raise DataError(f"{where}: has shape {_times(shape)}, not {_times(('N', *item_shape))}")
    if not 1 <= shape[0] <= MAX_ITEMS:
        raise DataError(f"{where}: holds {shape[0]:,} items, not 1 to {MAX_ITEMS:,}")


def sha256(array: NDArray[np.uint8]) -> str:
    """Return the SHA-256, in hexadecimal, of the uncompressed IDX file that holds an array."""
    digest = hashlib.sha256(_header(array))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array as an IDX file, gzipped (without a time stamp) if it is named `….gz`.

    Raises:
        FileError: the file cannot be written.
    """
    content = _header(array) + array.tobytes()
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def read_error(where: str, error: Exception) -> DataError:
    """Make the error for a file that cannot be read."""
    reason = getattr(error, "strerror", None) or str(error)
    # Libraries quote the bytes that they cannot parse, whatever they are and however many.
    return DataError(f"{where}: cannot be read ({textwrap.shorten(reason, 100)}); get it again")


def _header(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", UNSIGNED_BYTES | array.ndim, *array.shape)


def _open(path: Path) -> BufferedIOBase:
    with path.open("rb") as file:
        gzipped = file.read(2) == GZIP_MAGIC
    return io.BufferedReader(_Gunzipped(path)) if gzipped else path.open("rb")


class _Gunzipped(io.FileIO):
    """The content of a gzip file, decompressed in large pieces.

    The `gzip` module takes 8 kB at a time, and waits after each for other threads' Python code.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._stream, self._compressed = zlib.decompressobj(GZIP), b""

    def readinto(self, buffer: Any) -> int:
        """Decompress into a buffer, and return how many bytes; 0 at the end."""
        content, stream = b"", self._stream
        while not content and (compressed := self._compressed or self.read(CHUNK_BYTES)):
            if stream.eof:  # another one follows
                self._stream = stream = zlib.decompressobj(GZIP)
            content = stream.decompress(compressed, len(buffer))
            self._compressed = stream.unconsumed_tail or stream.unused_data.lstrip(b"\0")
        if not content and not stream.eof:
            raise EOFError("ends before its checksum")
        buffer[: len(content)] = content
        return len(content)


def _read_shape(file: BufferedIOBase, dimensions: int, where: str) -> tuple[int, ...]:
    raw = file.read(4 * (1 + dimensions))
    wanted = struct.pack(">I", UNSIGNED_BYTES | dimensions)
    if raw[:4] != wanted:
        found = raw[:4].hex(" ") or "nothing"
        raise DataError(
            f"{where}: is not IDX of this kind ({found}, not {wanted.hex(' ')}, at its start)"
        )
    if len(raw) < 4 * (1 + dimensions):
        raise DataError(f"{where}: is cut short in its header; get it again")
    return struct.unpack(f">{dimensions}I", raw[4:])


def _times(shape: tuple[object, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"
