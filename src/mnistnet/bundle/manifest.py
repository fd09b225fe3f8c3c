"""`manifest.json`: which files a bundle consists of, to the byte, and where it came from.

    manifest = check_files(directory)                          # every size and SHA-256
    model = read_file(directory, "digit.onnx", manifest)       # the bytes that were checked

Nothing here runs a graph, or needs torch, onnx or NumPy. A bundle may come from anywhere: sizes
are limited before anything is read, names are compared with the format's and never followed, and
links are refused.
"""

from __future__ import annotations

import json
import math
import re
import stat
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from itertools import chain
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

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
EXTRA_FILES = ("model.sig", "report.html", "sbom.cdx.json")
MAX_MANIFEST_BYTES = 65_536
MAX_BUNDLE_BYTES = 1_000_000  # all of FILES together
MAX_EXTRA_BYTES = 10_000_000  # each of EXTRA_FILES
MAX_DIGITS = 18  # of a whole number
MAX_CHARACTERS = 256  # of a text in the manifest
MAX_DEPTH = 32  # of objects and lists in each other
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
class Manifest:
    """The content of a `manifest.json`."""

    origin: Origin  # of the weights
    metrics: dict[str, Any] = field(default_factory=dict)  # what was measured of the network
    threshold: float = 0.0  # the confidence below which a prediction counts as unsure
    files: dict[str, Fingerprint] = field(default_factory=dict)  # every other file, by name
    export: Step | None = None  # of the bundle; None in those from before it was recorded
    format_version: int = FORMAT_VERSION

    def to_bytes(self) -> bytes:
        """Return the content of the file; the same fields give the same bytes."""
        document = {
            "format_version": self.format_version,
            "threshold": self.threshold,
            "metrics": self.metrics,
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
            _read_at_most(MAX_EXTRA_BYTES, entry)
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
    return parse_manifest(_read_at_most(MAX_MANIFEST_BYTES, path), path)


def read_file(directory: Path, name: str, manifest: Manifest) -> bytes:
    """Read one of a bundle's files, and check that it is the one that the manifest names.

    Raises:
        BundleError: it is missing, a link, or not of that size and SHA-256.
    """
    path, expected = directory / name, manifest.files[name]
    content = _read_at_most(expected.size_bytes, path)
    if len(content) < expected.size_bytes:
        raise _damaged(path, f"is smaller than {expected.size_bytes:,} bytes")
    if sha256(content) != expected.sha256:
        raise _damaged(path, f"has another SHA-256 than {MANIFEST} names")
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
    manifest = Manifest(
        decode(Origin, document, where),
        decode(dict[str, Any], document, where, "metrics"),
        decode(float, document, where, "threshold"),
        decode(dict[str, Fingerprint], document, where, "files"),
        decode(Step, document, where, "export") if "export" in document else None,
        version,
    )
    _check(manifest, where)
    return manifest


def parse_json(content: bytes, where: object, *, max_characters: int = MAX_BUNDLE_BYTES) -> Any:
    """Parse JSON in UTF-8 of one meaning, whose texts may be printed.

    Refused are numbers that are not finite (NaN, Infinity, 1e999) or too large, a name that an
    object has twice, and a text that is too long or could steer a terminal.

    Raises:
        BundleError: it is not such JSON.
    """
    try:
        document = json.loads(
            content.decode(),  # bytes might be taken for UTF-16
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_without_repeats,
        )
        texts = list(_texts(document))
    except (ValueError, RecursionError) as error:
        raise _damaged(where, f"is not valid JSON ({error})") from None
    for text in texts:
        if len(text) > max_characters or not text.isprintable():
            raise _damaged(where, f"holds a text that is too long, or not printable: {text!a:.40}")
    return document


def decode(kind: Any, value: Any, where: object, name: str = "") -> Any:
    """Return a JSON value, or its field of a name, checked against a type.

    The type is a dataclass, `dict[str, T]`, `tuple[T, ...]`, `A | B`, or a plain one, which no
    subclass satisfies: true is no int. Fields that a dataclass does not have are ignored.

    Raises:
        BundleError: it is missing, or of another type.
    """
    if name:
        value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
    if isinstance(kind, UnionType):
        matching = (k for k in get_args(kind) if type(value) is (get_origin(k) or k))
        kind = next(matching, kind)
    if is_dataclass(kind) and isinstance(value, dict):
        missing = {f.name for f in fields(kind) if f.default is not MISSING} - value.keys()
        types = {k: t for k, t in get_type_hints(kind).items() if k not in missing}
        values = {key: decode(type_, value, where, key) for key, type_ in types.items()}
        return kind(**values)  # type: ignore[operator]
    if get_origin(kind) is dict and isinstance(value, dict):
        return {key: decode(get_args(kind)[1], value, where, key) for key in value}
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(decode(get_args(kind)[0], item, where) for item in value)
    if kind is Any or type(value) is kind or (kind is float and type(value) is int):
        return value
    what = f"has no {name!r:.40}" if name else "holds a value that is not"
    raise _damaged(where, f"{what} of the right type")


def _check(manifest: Manifest, where: object) -> None:
    """Check what types cannot express."""
    if set(manifest.files) != set(FILES):
        raise _damaged(where, f"files does not name exactly {', '.join(FILES)}")
    sizes = [file.size_bytes for file in manifest.files.values()]
    if min(sizes) < 0 or sum(sizes) > MAX_BUNDLE_BYTES:
        raise _damaged(where, f"files are not between 0 and {MAX_BUNDLE_BYTES:,} bytes together")
    if not 0 <= manifest.threshold <= 1:
        raise _damaged(where, "threshold is not between 0 and 1")
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
        raise _damaged(where, "holds something else where a SHA-256 should be")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield every text in a document, names included. Raises ValueError: it is too deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        if depth == MAX_DEPTH:
            raise ValueError(f"over {MAX_DEPTH} objects or lists in each other")
        for item in chain(value, value.values() if isinstance(value, dict) else ()):
            yield from _texts(item, depth + 1)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} is not a finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"{text:.20}… is too large a number")
    return int(text)


def _read_at_most(limit_bytes: int, path: Path) -> bytes:
    try:
        # A link could lead anywhere, and a pipe would wait for ever.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _damaged(path, "is not a plain file")
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except FileNotFoundError:
        raise _damaged(path, "is missing") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); check who may") from error
    if len(content) > limit_bytes:
        raise _damaged(path, f"is larger than {limit_bytes:,} bytes")
    return content


def _damaged(where: object, problem: str) -> BundleError:
    return BundleError(f"{where}: {problem}; get the bundle again")
