"""MNIST fetched from public mirrors, whole or not at all: `download(folder)`.

Each file goes from the first mirror that delivers it. What has arrived lies in a `.part` beside
its place, one for each mirror (mirrors gzip differently), so that a connection that breaks, or
a process that is killed, is resumed where it stopped. Only bytes whose uncompressed SHA-256 is
MNIST's get the file's name.

Two processes that download at once do not wait for each other: both write the same bytes to
the same offsets of the same `.part`, and each puts the file in its place only from memory, after
verifying it there.

`$MNISTNET_MIRRORS` replaces the mirrors: addresses between spaces, each to be followed by
`train-images-idx3-ubyte.gz` and so on. Empty, it switches downloading off.
"""

from __future__ import annotations

import os
import time
import zlib
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, NoReturn, cast
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from tqdm import tqdm

from mnistnet.data.mnist import MIRRORS, MNIST, KnownFile
from mnistnet.errors import DataError
from mnistnet.files import sha256, write_bytes, write_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CONNECTIONS = 4  # to one mirror for one file, before the next mirror is asked
CHUNK_BYTES = 1 << 16
SLACK_BYTES = 1 << 16  # by so much may a gzip file exceed its content
SLOWEST_BYTES_PER_S = 16_384  # a mirror that only drips is given up


class _MirrorError(Exception):
    """A mirror does not deliver, and asking again would not help."""


class _BrokenError(_MirrorError):
    """A mirror has stopped in the middle, and can be asked for the rest."""


def download(
    folder: Path,
    *,
    mirrors: Sequence[str] | None = None,
    files: Sequence[KnownFile] = MNIST,
    timeout_s: float = 20.0,
) -> None:
    """Fetch the files that a folder lacks, gzipped, with a progress bar on a terminal.

    Args:
        folder: where to put them; made if it is missing.
        mirrors: addresses to try in turn, instead of the usual ones.
        files: what to fetch, known by its SHA-256.
        timeout_s: how long a mirror may be silent.

    Raises:
        DataError: a file could be had from no mirror; says why, mirror by mirror.
        FileError: the folder cannot be written.
    """
    order = _usual_mirrors() if mirrors is None else list(mirrors)
    for file in files:
        target = folder / f"{file.name}.gz"
        if not target.is_file():
            order = _fetch(file, target, order, timeout_s)


def _usual_mirrors() -> list[str]:
    variable = os.environ.get("MNISTNET_MIRRORS")
    return list(MIRRORS) if variable is None else variable.split()


def _fetch(file: KnownFile, target: Path, mirrors: list[str], timeout_s: float) -> list[str]:
    """Fetch one file; give the mirrors in the order for the next, the one that served it first."""
    reasons = []
    for mirror in mirrors:
        try:
            _fetch_from(f"{mirror.rstrip('/')}/{target.name}", file, target, timeout_s)
        except _MirrorError as error:
            reasons.append(f"{_host(mirror)} {error}")
        else:
            return [mirror, *(other for other in mirrors if other != mirror)]
    raise DataError(
        f"{target.name}: is not on this machine and cannot be downloaded "
        f"({'; '.join(reasons) or 'there are no mirrors'}); "
        "name a folder that holds MNIST's four files with --data"
    )


def _fetch_from(url: str, file: KnownFile, target: Path, timeout_s: float) -> None:
    """Fetch one file from one mirror, going on where an earlier connection stopped.

    Raises:
        _MirrorError: the mirror does not deliver this file.
    """
    part = target.with_name(f"{target.name}.{sha256(url.encode())[:8]}.part")
    for connections_left in reversed(range(CONNECTIONS)):
        resumed = _size_bytes(part) > 0
        try:
            content = _receive(url, part, file.size_bytes + SLACK_BYTES, timeout_s)
        except _BrokenError:
            if not connections_left:
                raise
            continue
        if _is_genuine(content, file):
            write_bytes(target, content)
            for old_part in target.parent.glob(f"{target.name}.*.part"):  # other mirrors' too
                _remove(old_part)
            return
        _remove(part)
        if not resumed:
            raise _MirrorError("serves other bytes than MNIST's")
        # The beginning, from another day, may have been what is wrong: ask for all of it.
    raise _MirrorError("serves other bytes than MNIST's")


def _receive(url: str, part: Path, limit_bytes: int, timeout_s: float) -> bytes:
    """Ask for the bytes that a part lacks, add them to it, and give all of them.

    Raises:
        _MirrorError, _BrokenError: the mirror's fault.
        FileError: the disk's.
    """
    end = _size_bytes(part)
    answer = _ask(url, end, timeout_s)
    try:
        if answer is None:  # nothing is lacking
            return part.read_bytes()
        part.parent.mkdir(parents=True, exist_ok=True)
        # Made if missing, but never emptied: another process may be writing the same bytes.
        with answer, open(part, "r+b", opener=_create) as file:
            for offset, chunk in _chunks(answer, end, limit_bytes, timeout_s):
                file.seek(offset)
                file.write(chunk)
                end = offset + len(chunk)
            file.seek(0)
            return file.read(end)
    except FileNotFoundError:  # another process has finished, and tidied up
        return b""
    except OSError as error:
        raise write_error(part, error) from error


def _size_bytes(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _remove(part: Path) -> None:
    with suppress(OSError):  # on Windows, while another process has it open
        part.unlink()


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o666)


def _chunks(
    answer: HTTPResponse, first_byte: int, limit_bytes: int, timeout_s: float
) -> Iterator[tuple[int, bytes]]:
    """Give what a mirror sends, asked for everything from `first_byte` on, as (offset, bytes).

    A mirror that does not resume starts again at 0. No more than `limit_bytes` are taken.

    Raises:
        _BrokenError: it stops before the end that it announced.
        _MirrorError: it sends something else than was asked, or too slowly.
    """
    offset = _offset(answer, first_byte)
    end = None if answer.length is None else offset + answer.length
    deadline_s = time.monotonic() + timeout_s + limit_bytes / SLOWEST_BYTES_PER_S
    with _bar(answer, offset, end) as bar:
        while chunk := _read(answer, timeout_s):
            if offset + len(chunk) > limit_bytes:
                return  # so much cannot be the file: the checksum will say so
            if time.monotonic() > deadline_s:
                raise _MirrorError("is too slow")
            yield offset, chunk
            offset += len(chunk)
            bar.update(len(chunk))
        if end is not None and offset < end:
            raise _BrokenError(f"breaks off after {offset:,} of {end:,} bytes")


def _ask(url: str, first_byte: int, timeout_s: float) -> HTTPResponse | None:
    """Ask for a file from `first_byte` on; None if it ends there."""
    if not url.startswith(("http://", "https://")):
        raise _MirrorError("is no http:// or https:// address")
    headers = {"User-Agent": "mnistnet"} | ({"Range": f"bytes={first_byte}-"} if first_byte else {})
    try:
        answer = _opener().open(Request(url, headers=headers), timeout=timeout_s)  # noqa: S310 – it knows no other schemes
        return cast("HTTPResponse", answer)
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and first_byte:
            return None
        raise _MirrorError(f"answers {error.code}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise _MirrorError(_reason(error, timeout_s)) from error


def _opener() -> OpenerDirector:
    """Make an opener for HTTP and HTTPS only: a redirection to another scheme goes nowhere."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler,
        HTTPHandler,
        HTTPSHandler,
        HTTPRedirectHandler,
        HTTPErrorProcessor,
        HTTPDefaultErrorHandler,
        UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _offset(answer: HTTPResponse, first_byte: int) -> int:
    """Say which byte of the file an answer starts with."""
    if answer.status != HTTPStatus.PARTIAL_CONTENT:
        return 0
    if not answer.headers.get("Content-Range", "").startswith(f"bytes {first_byte}-"):
        raise _MirrorError("answers with another part of the file than asked for")
    return first_byte


def _read(answer: HTTPResponse, timeout_s: float) -> bytes:
    try:
        return answer.read1(CHUNK_BYTES)
    except TimeoutError as error:
        raise _MirrorError(_reason(error, timeout_s)) from error
    except (OSError, HTTPException) as error:
        raise _BrokenError("breaks off") from error


def _bar(answer: HTTPResponse, offset: int, end: int | None) -> tqdm[NoReturn]:
    return tqdm(
        desc=answer.url.rpartition("/")[2],
        initial=offset,
        total=end,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,  # off a terminal
    )


def _reason(error: Exception, timeout_s: float) -> str:
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"is silent for {timeout_s:g} s"
    if isinstance(error, HTTPException):  # its text may be the server's
        return f"does not speak HTTP ({type(error).__name__})"
    return f"cannot be reached ({getattr(error, 'strerror', None) or error})"


def _host(mirror: str) -> str:
    """Name a mirror in a message, without a password that its address may carry."""
    return mirror.partition("://")[2].partition("/")[0].rpartition("@")[2] or mirror


def _is_genuine(content: bytes, file: KnownFile) -> bool:
    """Compare a gzipped file's content with what is known; decompresses no more than that."""
    stream = zlib.decompressobj(wbits=31)  # 31: gzip
    try:
        raw = stream.decompress(content, file.size_bytes + 1)
    except zlib.error:
        return False
    whole = stream.eof and not stream.unused_data
    return whole and len(raw) == file.size_bytes and sha256(raw) == file.sha256
