"""A hostile file costs little and is refused in one line; what fuzzing found is kept here."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import zlib
from pathlib import Path

import pytest
from drawing import FORMATS, encoded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from releases import PEAK_BYTES, Python

from mnistnet import Predictor
from mnistnet.errors import PictureError
from mnistnet.inference.decoding import decode

STARTS = (
    *(b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"BM"),
    *(b"II*\0", b"MM\0*", b"GIF89a", b"\0\0\0\x18ftypheic"),
)
fuzzed = settings(
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
pytestmark = pytest.mark.filterwarnings("ignore")  # a damaged file's warnings must not stop it


def _refusal(content: bytes) -> str:
    with pytest.raises(PictureError) as refused:
        decode(content, "it")
    message = str(refused.value)
    assert message.startswith("it: ")
    assert "\n" not in message
    return message


def _read_or_refuse(predictor: Predictor, content: bytes) -> None:
    with contextlib.suppress(PictureError):
        assert predictor.predict(content).digit in {None, *range(10)}


def _png(width: int, height: int, rows: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _tiff(width: int, height: int, tile: int, content: bytes) -> bytes:
    """One grey picture, deflated, in square tiles."""
    start = 8 + 2 + 12 * 10 + 4
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1}
    tags |= {322: tile, 323: tile, 324: start, 325: len(content)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + content


def _gif(width: int, height: int, frame: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\x02\x02\x4c\x01\0;"


def _bmp(width: int, height: int) -> bytes:
    sizes = (0, 0, 54, 40, width, height, 1, 8, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", *sizes)


def _jpeg_with_scans(count: int) -> bytes:
    content = encoded(Image.new("L", (64, 64), 255), "JPEG", progressive=True)
    last, end = content.rfind(b"\xff\xda"), content.rfind(b"\xff\xd9")
    return content[:end] + content[last:end] * count + content[end:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(_png(100_000, 100_000), "is over 64 megapixels; make it smaller", id="PNG"),
        pytest.param(_png(2**31 - 1, 2**31 - 1), "is over 64 megapixels", id="PNG, most"),
        pytest.param(_tiff(9000, 9000, 256, b""), "is over 64 megapixels", id="TIFF"),
        pytest.param(_tiff(100, 100, 40_000, b""), "too large tiles", id="TIFF's tiles"),
        pytest.param(_gif(65_535, 65_535, 8), "is over 64 megapixels", id="GIF"),
        pytest.param(_gif(8, 8, 65_535), "is over 64 megapixels", id="GIF's frame"),
        pytest.param(_bmp(60_000, 60_000), "is over 64 megapixels", id="BMP"),
        pytest.param(_jpeg_with_scans(200), "is a JPEG of over 100 scans", id="JPEG's scans"),
        pytest.param(_png(1, 100_000), "is 1×100000 pixels; no digit fits that", id="a line"),
        pytest.param(_png(2, 2), "is 2×2 pixels", id="tiny"),
        pytest.param(_png(3, 151), "is 3×151 pixels", id="narrow"),
        pytest.param(b"%PDF-1.7\n%\xe2\xe3", "is a PDF, not a picture of pixels", id="PDF"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is an SVG drawing", id="SVG"),
        pytest.param(b'\xef\xbb\xbf \n<?xml version="1.0"?><svg/>', "is an XML file", id="XML"),
        pytest.param(b"<!DOCTYPE svg>", "is an XML file", id="doctype"),
        pytest.param(b"", "is empty", id="nothing"),
    ],
)
def test_a_file_that_is_no_picture_of_a_digit_is_refused_before_it_is_decoded(
    content: bytes, message: str
) -> None:
    assert message in _refusal(content)


def test_a_jpeg_of_many_scans_is_decoded() -> None:
    assert decode(_jpeg_with_scans(50), "it").shape == (64, 64, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_a_bomb_costs_little_memory(python: Python) -> None:
    measure = f"""{PEAK_BYTES}
from mnistnet.errors import PictureError
from mnistnet.inference.decoding import decode
decode(bytes.fromhex(sys.stdin.readline()), "small")
before = peak_bytes()
for line in sys.stdin:
    try:
        decode(bytes.fromhex(line), "bomb")
    except PictureError:
        print(peak_bytes() - before)
"""
    side = 9_000  # 81 MB, deflated to 81 kB
    zeros = zlib.compressobj(1)
    deflated = b"".join(zeros.compress(bytes(side * 100)) for _ in range(side // 100))
    deflated += zeros.flush()
    bombs = [_tiff(100, 100, side, deflated), _png(30_000, 30_000), _gif(8, 8, 60_000)]
    small = _png(9, 9, bytes(90))
    done = python(measure, given="\n".join(content.hex() for content in [small, *bombs]))
    assert done.returncode == 0, done.stderr
    growth = [int(line) for line in done.stdout.split()]
    assert len(growth) == len(bombs)
    assert max(growth) < 40 * 2**20


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_refused_wherever_it_ends(
    kind: str, predictor: Predictor, files: dict[str, bytes]
) -> None:
    content = files[kind]
    assert "is damaged, or not a picture" in _refusal(content[: len(content) // 2])
    for length in range(0, len(content), max(1, len(content) // 60)):
        _read_or_refuse(predictor, content[:length])


@fuzzed
@given(
    content=st.binary(max_size=300),
    start=st.sampled_from(STARTS),
)
def test_random_bytes_are_refused_or_read(
    predictor: Predictor, start: bytes, content: bytes
) -> None:
    _read_or_refuse(predictor, start + content)


@fuzzed
@given(
    kind=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=9),
    early=st.booleans(),
)
def test_a_real_file_with_bytes_changed_is_refused_or_read(
    predictor: Predictor,
    files: dict[str, bytes],
    kind: str,
    changes: list[tuple[int, int]],
    early: bool,
) -> None:
    content = bytearray(files[kind])
    for place, value in changes:  # half of the time in the header, where the sizes are
        content[place % min(len(content), 200 if early else len(content))] = value
    _read_or_refuse(predictor, bytes(content))


def test_a_path_that_is_no_plain_file_is_refused_with_the_reason(
    predictor: Predictor, tmp_path: Path
) -> None:
    for path, problem in [
        (tmp_path, "is a folder"),
        (tmp_path / "none.png", "there is no such file"),
        (tmp_path / ("x" * 5000), "cannot be read|there is no such file"),
        ("nul\0.png", "cannot be the name of a file|there is no such file"),
        (os.devnull, "is not a plain file|there is no such file"),
    ]:
        with pytest.raises(PictureError, match=problem):
            predictor.predict(path)


def test_a_file_of_more_than_64_mb_is_refused_and_not_read_further(
    predictor: Predictor, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(10**12)  # sparse: it takes no room
    with pytest.raises(PictureError, match="is larger than 64 MB"):
        predictor.predict(path)
