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

from mnistnet.data.sets import MNIST_SHA256
from mnistnet.errors import DataError
from mnistnet.files import sha256, write_bytes
from mnistnet.text import first_line, without_password

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Each serves `<mirror><name>.gz`. The authors' own site no longer does.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)
CHUNK_BYTES = 1 << 16
MAX_BYTES = 47_040_016  # of the largest file, uncompressed
MAX_DURATION_S = 600.0  # for one file: a mirror may be never silent, and still too slow


def download(
    folder: Path,
    *,
    mirrors: Sequence[str] | None = None,
    files: Mapping[str, str] = MNIST_SHA256,
    timeout_s: float = 20.0,
) -> None:
    """Fetch the files that a folder lacks, gzipped, with a progress bar on a terminal.

    Args:
        folder: where to put them; made if it is missing.
        mirrors: addresses to try in turn, instead of the usual ones.
        files: what to fetch: name → SHA-256 of the uncompressed bytes.
        timeout_s: how long a mirror may be silent.

    Raises:
        DataError: no mirror serves all that is missing; says why, mirror by mirror.
        FileError: the folder cannot be written.
    """
    if mirrors is None:
        mirrors = os.environ.get("MNISTNET_MIRRORS", " ".join(MIRRORS)).split()
    missing = [name for name in files if not (folder / f"{name}.gz").is_file()]
    reasons = []
    for mirror in mirrors:
        try:
            while missing:
                name = missing[0]
                content = _fetch(f"{mirror.rstrip('/')}/{name}.gz", timeout_s)
                if not _has_sha256(content, files[name]):
                    raise ValueError("breaks off, or serves other bytes than MNIST's")
                write_bytes(folder / f"{name}.gz", content)
                missing.pop(0)
        except (OSError, HTTPException, ValueError) as error:
            reasons.append(f"{without_password(mirror)}: {first_line(error)}")
    if missing:
        raise DataError(
            f"{missing[0]}.gz: is not on this machine and cannot be downloaded "
            f"({'; '.join(reasons) or 'there are no mirrors'}); "
            "name a folder that holds MNIST's four files with --data"
        )


def _fetch(url: str, timeout_s: float) -> bytes:
    """Return what an address serves, within bounds of size and time.

    Raises:
        OSError, HTTPException, ValueError: why it does not.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError("is no http:// or https:// address")
    deadline_s = time.monotonic() + MAX_DURATION_S
    content = bytearray()
    request = Request(url, headers={"User-Agent": "mnistnet"})  # noqa: S310 – checked above
    with (
        urlopen(request, timeout=timeout_s) as response,  # noqa: S310
        tqdm(
            desc=url.rpartition("/")[2],
            total=response.length,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,  # no bar where there is no terminal
        ) as bar,
    ):
        while len(content) <= MAX_BYTES and (chunk := response.read1(CHUNK_BYTES)):
            content += chunk
            bar.update(len(chunk))
            if time.monotonic() > deadline_s:
                raise ValueError("is too slow")
    return bytes(content)


def _has_sha256(gzipped: bytes, expected: str) -> bool:
    """Whether a gzip file's content has a SHA-256; no more than MAX_BYTES are decompressed."""
    stream = zlib.decompressobj(wbits=31)  # 31: gzip
    try:
        content = stream.decompress(gzipped, MAX_BYTES + 1)
    except zlib.error:
        return False
    return stream.eof and not stream.unused_data and sha256(content) == expected
