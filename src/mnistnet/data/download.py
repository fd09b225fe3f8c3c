"""MNIST fetched from public mirrors: `download(folder)`.

The mirrors are asked in turn. Only bytes whose uncompressed SHA-256 is MNIST's are written, each
file atomically, so that a process that is killed, or two at once, leave whole files or none.

`$MNISTNET_MIRRORS` replaces the mirrors: addresses between spaces, each to be followed by
`train-images-idx3-ubyte.gz` and so on. Empty, it switches downloading off.
"""

from __future__ import annotations

import os
import time
import zlib
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from tqdm import tqdm

from mnistnet.data.mnist import MNIST, KnownFile
from mnistnet.errors import DataError
from mnistnet.files import sha256, write_bytes
from mnistnet.text import first_line, without_password

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Each serves `<mirror><name>.gz`. The authors' own site no longer does.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)
CHUNK_BYTES = 1 << 16
MAX_GZIP_OVERHEAD_BYTES = 1 << 16  # by so much may a gzip file exceed its content
MIN_BYTES_PER_S = 16_384  # a mirror that is never silent, but slower than this, is given up


class _MirrorError(Exception):
    """A mirror does not serve what it should."""


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
        files: what to fetch.
        timeout_s: how long a mirror may be silent.

    Raises:
        DataError: no mirror serves all that is missing; says why, mirror by mirror.
        FileError: the folder cannot be written.
    """
    if mirrors is None:
        mirrors = os.environ.get("MNISTNET_MIRRORS", " ".join(MIRRORS)).split()
    missing = [file for file in files if not (folder / f"{file.name}.gz").is_file()]
    reasons = []
    for mirror in mirrors:
        try:
            while missing:
                name = f"{missing[0].name}.gz"
                content = _fetch(f"{mirror.rstrip('/')}/{name}", missing[0], timeout_s)
                write_bytes(folder / name, content)
                missing.pop(0)
        except (_MirrorError, OSError, HTTPException, ValueError) as error:
            reasons.append(f"{without_password(mirror)}: {first_line(error)}")
    if missing:
        raise DataError(
            f"{missing[0].name}.gz: is not on this machine and cannot be downloaded "
            f"({'; '.join(reasons) or 'there are no mirrors'}); "
            "name a folder that holds MNIST's four files with --data"
        )


def _fetch(url: str, file: KnownFile, timeout_s: float) -> bytes:
    """Return the gzipped bytes of a file, from one mirror, within bounds of size and time.

    Raises:
        _MirrorError: they are not the file's, or come too slowly.
        OSError, HTTPException, ValueError: the address cannot be read.
    """
    if not url.startswith(("http://", "https://")):
        raise _MirrorError("is no http:// or https:// address")
    limit_bytes = file.size_bytes + MAX_GZIP_OVERHEAD_BYTES
    deadline_s = time.monotonic() + timeout_s + limit_bytes / MIN_BYTES_PER_S
    content = bytearray()
    request = Request(url, headers={"User-Agent": "mnistnet"})  # noqa: S310 – checked above
    with (
        urlopen(request, timeout=timeout_s) as response,  # noqa: S310
        tqdm(
            desc=f"{file.name}.gz",
            total=response.length,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,  # no bar where there is no terminal
        ) as bar,
    ):
        while len(content) <= limit_bytes and (chunk := response.read1(CHUNK_BYTES)):
            content += chunk
            bar.update(len(chunk))
            if time.monotonic() > deadline_s:
                raise _MirrorError("is too slow")
    if not _is_known(bytes(content), file):
        raise _MirrorError("breaks off, or serves other bytes than MNIST's")
    return bytes(content)


def _is_known(content: bytes, file: KnownFile) -> bool:
    """Compare a gzipped file with what is known of it; no more than its size is decompressed."""
    stream = zlib.decompressobj(wbits=31)  # 31: gzip
    try:
        raw = stream.decompress(content, file.size_bytes + 1)
    except zlib.error:
        return False
    is_whole = stream.eof and not stream.unused_data
    return is_whole and len(raw) == file.size_bytes and sha256(raw) == file.sha256
