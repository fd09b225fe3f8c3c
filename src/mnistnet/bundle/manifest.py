"""`manifest.json`: which files a bundle consists of, to the byte, and where it came from.

    manifest = check_files(directory)                          # every size and SHA-256
    model = read_file(directory, "digit.onnx", manifest)       # the bytes that were checked

Nothing here runs a graph, or needs torch, onnx or NumPy. A bundle may come from anywhere: sizes
are limited before anything is read, names are compared with the format's and never followed, and
links are refused.
"""

from __future__ import annotations

import re
import stat
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mnistnet.bundle.strict_json import damaged, decode, parse_json
from mnistnet.errors import BundleError
from mnistnet.files import entries, json_bytes, replace_folder, sha256
from mnistnet.provenance import EXPORT_INPUTS, INPUTS, Origin, Step
from mnistnet.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT_VERSION = 2  # that is written; in 1, picture.onnx read grey levels
READABLE_VERSIONS = (1, 2)
MANIFEST = "manifest.json"
FILES = (
    *("README.md", "digit.onnx", "picture.onnx", "report.json", "vectors.json"),
    "weights.safetensors",
)
# May be in the folder without being in the manifest: a signature, for example, covers it.
PAGE = "report.html"
EXTRA_FILES = ("model.sig", PAGE, "sbom.cdx.json")
MAX_MANIFEST_BYTES = 65_536
MAX_BUNDLE_BYTES = 1_000_000  # all of FILES together
MAX_EXTRA_BYTES = 10_000_000  # each of EXTRA_FILES
MAX_CHARACTERS = 256  # of a text in the manifest
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Fingerprint:
    """The size and the hash of a file's content."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Fingerprint:
        """Compute the fingerprint of a content."""
        return cls(len(content), sha256(content))


@dataclass(frozen=True)
class Metrics:
    """What was measured of the network, on the n images of a split; shares are of 1."""

    judged_on: str  # test or validation
    n: int
    correct: int
    accuracy: float
    accuracy_low: float  # the ends of its 95 % interval
    accuracy_high: float
    negative_log_likelihood: float
    calibration_error: float


@dataclass(frozen=True)
class Manifest:
    """The content of a `manifest.json`."""

    origin: Origin  # of the weights
    metrics: Metrics | None = None  # None: nothing was measured
    threshold: float = 0.0  # the confidence below which a prediction counts as unsure
    files: dict[str, Fingerprint] = field(default_factory=dict)  # every other file, by name
    export: Step | None = None  # of the bundle; None in those from before it was recorded
    format_version: int = FORMAT_VERSION

    def to_bytes(self) -> bytes:
        """Return the content of the file; the same fields give the same bytes."""
        document = {
            "format_version": self.format_version,
            "threshold": self.threshold,
            "metrics": asdict(self.metrics) if self.metrics else {},
            **self.origin.as_document(),
            **({"export": asdict(self.export)} if self.export else {}),
            "files": {name: asdict(self.files[name]) for name in FILES},
        }
        return json_bytes(document)


@contextmanager
def replace_bundle(directory: Path) -> Iterator[Path]:
    """Yield a new folder that takes a bundle's place when the block succeeds.

    Raises:
        BundleError: a manifest that lies in the directory is not a bundle's.
        FileError: something else lies in it, it is a file, or cannot be written.
    """
    with replace_folder(directory, {MANIFEST, *FILES, *EXTRA_FILES}) as temporary:
        if directory.exists() and any(directory.iterdir()):
            read_manifest(directory)
        yield temporary


def check_files(directory: Path) -> Manifest:
    """Check that a folder holds its manifest's files, byte for byte, and no others.

    Raises:
        BundleError: names the first thing that is wrong.
    """
    manifest = read_manifest(directory)
    for entry in entries(directory):
        if entry.name not in (MANIFEST, *FILES, *EXTRA_FILES):
            name = printable(entry.name)
            raise BundleError(f"{directory / name}: does not belong to the bundle; move it away")
        if entry.name in EXTRA_FILES:  # whoever opens it must not wait for ever, or follow a link
            read_at_most(MAX_EXTRA_BYTES, entry)
    for name in FILES:
        read_file(directory, name, manifest)
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """Read a bundle's manifest, and no other file.

    Raises:
        BundleError: there is none, it is damaged, or it is of another version of the format.
    """
    path = directory / MANIFEST
    if not path.exists():
        raise BundleError(
            f"{directory}: is not a bundle (no {MANIFEST}); mnistnet export makes one"
        )
    return parse_manifest(read_at_most(MAX_MANIFEST_BYTES, path), path)


def read_file(directory: Path, name: str, manifest: Manifest) -> bytes:
    """Read one of a bundle's files, and check that it is the one that the manifest names.

    Raises:
        BundleError: it is missing, a link, or not of that size and SHA-256.
    """
    path, expected = directory / name, manifest.files[name]
    content = read_at_most(expected.size_bytes, path)
    if len(content) < expected.size_bytes:
        raise damaged(path, f"is smaller than {expected.size_bytes:,} bytes")
    if sha256(content) != expected.sha256:
        raise damaged(path, f"has another SHA-256 than {MANIFEST} names")
    return content


def parse_manifest(content: bytes, where: object) -> Manifest:
    """Check and convert the content of a manifest; `where` is its path, for the messages.

    Raises:
        BundleError: a field is missing, or is not of the format.
    """
    document = parse_json(content, where, max_characters=MAX_CHARACTERS)
    version = decode(int, document, where, "format_version")
    if version not in READABLE_VERSIONS:
        raise BundleError(
            f"{where}: is of format version {version!s:.20}, and this program reads"
            f" {' and '.join(map(str, READABLE_VERSIONS))}; use the version of mnistnet that it was"
            " made with"
        )
    for name in {"inputs", "earlier"} & document.keys():  # they may be missing, not null
        decode(dict[str, Any], document, where, name)
    metrics = decode(dict[str, Any], document, where, "metrics")
    manifest = Manifest(
        decode(Origin, document, where),
        decode(Metrics, metrics, where) if metrics else None,
        decode(float, document, where, "threshold"),
        decode(dict[str, Fingerprint], document, where, "files"),
        decode(Step, document, where, "export") if "export" in document else None,
        version,
    )
    _check(manifest, where)
    return manifest


def _check(manifest: Manifest, where: object) -> None:
    """Check what types cannot express."""
    if set(manifest.files) != set(FILES):
        raise damaged(where, f"files does not name exactly {', '.join(FILES)}")
    sizes = [file.size_bytes for file in manifest.files.values()]
    if min(sizes) < 0 or sum(sizes) > MAX_BUNDLE_BYTES:
        raise damaged(where, f"files are not between 0 and {MAX_BUNDLE_BYTES:,} bytes together")
    if not 0 <= manifest.threshold <= 1:
        raise damaged(where, "threshold is not between 0 and 1")
    digests = [file.sha256 for file in manifest.files.values()]
    digests += manifest.origin.data.values()
    earlier = (manifest.origin.earlier or {}).values()
    for record, names in (
        (manifest.origin, INPUTS),
        (manifest.export, EXPORT_INPUTS),
        *((part, ()) for part in earlier),
    ):
        if record is not None:
            decode(str | None, record.source, where, "commit")
            decode(bool, record.source, where, "dirty")
        if record is not None and record.inputs is not None:
            digests += [decode(str, record.inputs, where, name) for name in names]
            digests += record.inputs.values()
    if not all(map(SHA256.fullmatch, digests)):
        raise damaged(where, "holds something else where a SHA-256 should be")


def manifest_sha256(directory: Path) -> str:
    """Return the SHA-256 of a bundle's manifest, which names the hash of every other file.

    Raises:
        BundleError: there is none, or it cannot be read.
    """
    return sha256(read_at_most(MAX_MANIFEST_BYTES, directory / MANIFEST))


def read_at_most(limit_bytes: int, path: Path) -> bytes:
    """Read a plain file. Raises BundleError: it is none, is larger, or cannot be read."""
    try:
        # A link could lead anywhere, and a pipe would wait for ever.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise damaged(path, "is not a plain file")
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except FileNotFoundError:
        raise damaged(path, "is missing") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); check who may") from error
    if len(content) > limit_bytes:
        raise damaged(path, f"is larger than {limit_bytes:,} bytes")
    return content
