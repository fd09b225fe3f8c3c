"""Small grey pictures as PNG, the same bytes wherever they are written.

    >>> data_uri(image)                             # uint8 (H, W)
    'data:image/png;base64,iVBORw0KGgo...'

A compressor's output differs between versions of zlib, and a report's bytes are fingerprinted
in a bundle's manifest. So nothing is compressed; sixteen greys instead of 256 keep it short.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 4  # a pixel
BLOCK = 65_535  # bytes that an uncompressed deflate block can hold


def data_uri(image: NDArray[np.uint8]) -> str:
    """Give an image (H, W) as an address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(encode(image)).decode()


def encode(image: NDArray[np.uint8]) -> bytes:
    """Give an image (H, W) as a PNG file with sixteen shades of grey (ISO/IEC 15948)."""
    height, width = image.shape
    header = struct.pack(">IIBBBBB", width, height, BITS, 0, 0, 0, 0)  # 0: grey, nothing special
    chunks = ((b"IHDR", header), (b"IDAT", _stored(_rows(image))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _rows(image: NDArray[np.uint8]) -> bytes:
    """Pack two pixels into a byte; each row begins with a 0, for "not filtered"."""
    grey = (image.astype(np.uint16) * 15 + 127) // 255
    grey = np.pad(grey, ((0, 0), (0, grey.shape[1] % 2)))
    packed = (grey[:, ::2] << BITS | grey[:, 1::2]).astype(np.uint8)
    return np.pad(packed, ((0, 0), (1, 0))).tobytes()


def _stored(content: bytes) -> bytes:
    """Wrap bytes as a zlib stream (RFC 1950) of stored blocks (RFC 1951, 3.2.4)."""
    blocks = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
    stream = b"\x78\x01"
    for i, block in enumerate(blocks):
        is_last = i == len(blocks) - 1
        stream += struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF) + block
    return stream + struct.pack(">I", zlib.adler32(content))


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
