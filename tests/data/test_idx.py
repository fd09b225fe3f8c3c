from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistnet.data import idx
from mnistnet.errors import DataError

IMAGES = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
HEADER = bytes.fromhex("00000803 00000002 0000001C 0000001C")
FILE = HEADER + IMAGES.tobytes()
FLOATS = bytes.fromhex("00000D03")


def shaped(*sizes: int) -> bytes:
    return struct.pack(">4I", 0x803, *sizes) + bytes(2 * 784)


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(content)
    return path


def test_an_idx_file_is_a_big_endian_header_and_the_pixels_row_by_row(tmp_path):
    idx.write(tmp_path / "images", IMAGES)
    idx.write(tmp_path / "images.gz", IMAGES)

    assert (tmp_path / "images").read_bytes() == FILE
    assert (tmp_path / "images.gz").read_bytes() == gzip.compress(FILE, mtime=0)
    upside_down = np.ascontiguousarray(IMAGES[:, ::-1])[:, ::-1]  # the same pixels, not in order
    assert idx.sha256(IMAGES) == idx.sha256(upside_down) == hashlib.sha256(FILE).hexdigest()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"", "is not IDX", id="empty"),
        pytest.param(FLOATS + HEADER[4:] + bytes(4 * 2 * 784), "is not IDX", id="floats"),
        pytest.param(HEADER[:10], "is cut short in its header", id="header only"),
        pytest.param(FILE[:-1], "is cut short, 1,567 of 1,568 bytes", id="short"),
        pytest.param(FILE + b"\0", "goes on after its 2 items", id="long"),
        pytest.param(shaped(2, 32, 28), "has shape 2×32×28, not N×28×28", id="32 high"),
        pytest.param(shaped(0, 28, 28), "holds 0 items", id="no items"),
        pytest.param(shaped(2**32 - 1, 28, 28), "holds 4,294,967,295 items", id="huge"),
        pytest.param(gzip.compress(FILE)[:-200], "cannot be read", id="gzip, short"),
        pytest.param(gzip.compress(FILE) + b"garbage", "cannot be read", id="gzip, long"),
        pytest.param(gzip.compress(FILE)[:-8] + bytes(8), "cannot be read", id="gzip, checksum"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line_that_names_it(tmp_path, content, complaint):
    path = stored(tmp_path, content)

    with pytest.raises(DataError) as caught:
        idx.read(path, (28, 28))

    assert str(caught.value).startswith(f"{path}: {complaint}")
    assert "\n" not in str(caught.value)

    path.unlink()
    with pytest.raises(DataError, match=r"train-images.*No such file"):
        idx.read(path, (28, 28))


def test_a_gzip_file_of_several_streams_and_padding_is_read_as_one(tmp_path):
    content = gzip.compress(FILE[:9]) + gzip.compress(b"") + gzip.compress(FILE[9:]) + bytes(100)

    assert np.array_equal(idx.read(stored(tmp_path, content), (28, 28)), IMAGES)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    bomb = gzip.compress(FILE + bytes(100_000_000))
    path = stored(tmp_path, bomb)

    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="goes on after its 2 items"):
            idx.read(path, (28, 28))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 5_000_000


@given(content=st.binary(max_size=64), gzipped=st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, gzipped):
    raw = HEADER[:8] + content
    path = stored(tmp_path_factory.getbasetemp(), gzip.compress(raw) if gzipped else raw)

    with pytest.raises(DataError):  # 64 bytes are never two images
        idx.read(path, (28, 28))
