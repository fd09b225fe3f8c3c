"""`manifest.json`: what a bundle consists of, to the byte, and where it came from.

    manifest = check_files(directory)                          # every size and SHA-256
    model = read_file(directory, "digit.onnx", manifest)       # the bytes that were checked

Nothing here runs a graph, or needs torch or onnx. A bundle may come from anywhere: sizes are
bounded before anything is read, names are compared with the format's and never followed, and
links are refused.
"""

from __future__ import annotations

import json
import math
import re
import stat
from dataclasses import asdict, dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any

from mnistnet.errors import BundleError
from mnistnet.files import json_bytes, sha256
from mnistnet.provenance import INPUTS, Origin

if TYPE_CHECKING:
    from pathlib import Path

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
FILES = (
    "README.md",
    "digit.onnx",
    "picture.onnx",
    "report.json",
    "vectors.json",
    "weights.safetensors",
)
# May lie in the folder and are no part of the bundle; a signature, say, covers the manifest.
BESIDE = ("model.sig", "report.html", "sbom.cdx.json")
MAX_MANIFEST_BYTES = 65_536
MAX_BUNDLE_BYTES = 1_000_000  # all of FILES together
MAX_BESIDE_BYTES = 10_000_000  # each of BESIDE


@dataclass(frozen=True)
class Fingerprint:
    """What tells one file's content from every other's."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Fingerprint:
        """Take it of a content."""
        return cls(len(content), sha256(content))


@dataclass(frozen=True)
class Manifest:
    """What a `manifest.json` says.

    Attributes:
        files: the fingerprint of every other file of the bundle, by name.
        metrics: what the network reached, for machines to compare.
        threshold: the confidence (0–1) below which an answer counts as unsure.
        origin: where the weights came from.
    """

    files: dict[str, Fingerprint]
    metrics: dict[str, Any]
    threshold: float
    origin: Origin

    def to_bytes(self) -> bytes:
        """Give the content of the file; the same fields give the same bytes."""
        document = {
            "format_version": FORMAT_VERSION,
            "threshold": self.threshold,
            "metrics": self.metrics,
            **{name: value for name, value in asdict(self.origin).items() if value is not None},
            "files": {name: asdict(self.files[name]) for name in FILES},
        }
        return json_bytes(document)


def check_files(directory: Path) -> Manifest:
    """Check that a folder holds its manifest's files, byte for byte, and no others.

    Raises:
        BundleError: names the first thing that is wrong.
    """
    manifest = read_manifest(directory)
    for entry in sorted(directory.iterdir()):
        if entry.name not in (MANIFEST, *FILES, *BESIDE):
            raise BundleError(f"{entry}: does not belong to the bundle; take it away")
        # Whoever opens one of those shall neither wait for ever nor be led astray.
        if entry.name in BESIDE and len(_read_bounded(entry, MAX_BESIDE_BYTES)) > MAX_BESIDE_BYTES:
            raise _damaged(entry, f"is larger than {MAX_BESIDE_BYTES:,} bytes")
    for name in FILES:
        read_file(directory, name, manifest)
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """Read a bundle's manifest, and look at no other file.

    Raises:
        BundleError: there is none, it is damaged, or it is of another version of the format.
    """
    path = directory / MANIFEST
    if not path.exists():
        raise BundleError(
            f"{directory}: is not a bundle (no {MANIFEST}); mnistnet export makes one"
        )
    content = _read_bounded(path, MAX_MANIFEST_BYTES)
    if len(content) > MAX_MANIFEST_BYTES:
        raise _damaged(path, f"is larger than {MAX_MANIFEST_BYTES:,} bytes")
    return parse_manifest(content, path)


def read_file(directory: Path, name: str, manifest: Manifest) -> bytes:
    """Read one of a bundle's files, and check that it is the one that the manifest means.

    Raises:
        BundleError: it is missing, a link, or not of that size and SHA-256.
    """
    path, expected = directory / name, manifest.files[name]
    content = _read_bounded(path, expected.size_bytes)
    if len(content) != expected.size_bytes:
        more_or_fewer = "more" if len(content) > expected.size_bytes else "fewer"
        raise _damaged(path, f"has {more_or_fewer} than its {expected.size_bytes:,} bytes")
    if sha256(content) != expected.sha256:
        raise _damaged(path, f"has not the SHA-256 that {MANIFEST} names")
    return content


def parse_manifest(content: bytes, where: object) -> Manifest:
    """Make sense of a manifest's content; `where` it lies is for the messages.

    Fields of other names than the format's are ignored.

    Raises:
        BundleError: a field is missing, or is not what the format says.
    """
    document = parse_json(content, where)
    version = field(document, "format_version", where, int)
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{where}: is of format version {version!s:.20}, and this program reads"
            f" {FORMAT_VERSION}; use the version of mnistnet that it was made with"
        )
    threshold = field(document, "threshold", where, int, float)
    if not 0 <= threshold <= 1:
        raise _damaged(where, "threshold is not between 0 and 1")
    return Manifest(
        files=_files(document, where),
        metrics=field(document, "metrics", where, dict),
        threshold=float(threshold),
        origin=_origin(document, where),
    )


def parse_json(content: bytes, where: object) -> Any:
    """Read JSON, but none of the numbers that are not finite (NaN, Infinity, 1e999).

    Raises:
        BundleError: it is not JSON.
    """
    try:
        return json.loads(content, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _damaged(where, f"is not valid JSON ({error})") from None


def field(document: object, name: str, where: object, *types: type) -> Any:
    """Take a field of a JSON object, of one of some types and no subclass: true is no int.

    Raises:
        BundleError: it is missing or of another type.
    """
    value = document.get(name, field) if isinstance(document, dict) else field
    if type(value) not in types:
        raise _damaged(where, f"has no {name!r:.40} of the right type")
    return value


def _origin(document: object, where: object) -> Origin:
    origin = Origin(
        recipe=field(document, "recipe", where, dict),
        data=_table(document, "data", where, str),
        source=_table(document, "source", where, str, bool, NoneType),
        environment=_table(document, "environment", where, str, int),
        versions=_table(document, "versions", where, str),
        inputs=_inputs(document, where),
    )
    field(origin.source, "commit", where, str, NoneType)
    field(origin.source, "dirty", where, bool)
    for digest in origin.data.values():
        _check_sha256(digest, where)
    return origin


def _inputs(document: object, where: object) -> dict[str, str] | None:
    if isinstance(document, dict) and "inputs" not in document:
        return None
    table = _table(document, "inputs", where, str)
    return {name: _check_sha256(field(table, name, where, str), where) for name in INPUTS}


def _files(document: object, where: object) -> dict[str, Fingerprint]:
    table = _table(document, "files", where, dict)
    if set(table) != set(FILES):
        raise _damaged(where, f"files does not name exactly {', '.join(FILES)}")
    files = {
        name: Fingerprint(
            size_bytes=field(table[name], "size_bytes", where, int),
            sha256=_check_sha256(field(table[name], "sha256", where, str), where),
        )
        for name in FILES
    }
    sizes = [file.size_bytes for file in files.values()]
    if min(sizes) < 0 or sum(sizes) > MAX_BUNDLE_BYTES:
        raise _damaged(where, f"files are not between 0 and {MAX_BUNDLE_BYTES:,} bytes together")
    return files


def _table(document: object, name: str, where: object, *types: type) -> dict[str, Any]:
    """Take a field that is an object, and whose values are all of some types."""
    table: dict[str, Any] = field(document, name, where, dict)
    for key in table:
        field(table, key, where, *types)
    return table


def _check_sha256(digest: str, where: object) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise _damaged(where, "holds something else where a SHA-256 should be")
    return digest


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.20} is not a finite number")
    return number


def _read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Read a file's content, and of one that is larger than the limit one byte more than that."""
    try:
        # A link could lead anywhere, and a pipe would wait for ever.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _damaged(path, "is not a plain file")
        with path.open("rb") as file:
            return file.read(limit_bytes + 1)
    except FileNotFoundError:
        raise _damaged(path, "is missing") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); check who may") from error


def _damaged(where: object, problem: str) -> BundleError:
    return BundleError(f"{where}: {problem}; get the bundle anew")
