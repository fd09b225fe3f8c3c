"""Where a bundle comes from, and whether making it again would start from anything else.

    origin_of(training_program(), recipe, data, environment)   # recorded of a training
    export_record()                               # recorded of an export
    training_basis(recipe, data).inputs["all"]    # `mnistnet fingerprint`
    changes_since(origin, record, training_basis(…), export_basis())     # … `--against BUNDLE`

There are two fingerprints, hashes of what a person chooses: one of all that the weights depend on
(code, recipe, data, versions), one of what makes a bundle of them (code, versions). Processor,
threads and precision decide the last bits too, but another one is no reason to train again;
`Origin.environment` records them. Which code counts follows from the imports; see code.py.
"""

from __future__ import annotations

import json
import platform
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import mnistnet
from mnistnet.errors import FileError, MissingError
from mnistnet.files import sha256
from mnistnet.provenance.code import EXPORT, TRAINING, code_digest
from mnistnet.provenance.source import source_commit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TRAINING_PACKAGES = ("torch", "numpy")
EXPORT_PACKAGES = ("onnx", "onnxscript", "onnxruntime", "safetensors")
INPUTS = ("code", "recipe", "data", "versions", "all")
EXPORT_INPUTS = ("code", "versions", "all")


@dataclass(frozen=True)
class Origin:
    """Where a bundle's weights came from: enough to train them again.

    Attributes:
        recipe: every hyperparameter by name.
        data: the SHA-256 of each file of the data set, by the file's name.
        source: `commit` (hexadecimal, or None outside a repository) and `dirty` (whether there
            were uncommitted changes).
        environment: what repeatability depends on: resolved precision, threads, instruction set.
        versions: of Python and the packages, by name.
        inputs: a SHA-256 of each of INPUTS; None in bundles from before these were recorded.
        earlier: of a run that was resumed: what trained its earlier parts, by number, where that
            was something else than what trained the last one, which the other fields name.
    """

    recipe: dict[str, Any]
    data: dict[str, str]
    source: dict[str, str | bool | None]
    environment: dict[str, str | int]
    versions: dict[str, str]
    inputs: dict[str, str] | None = None
    earlier: dict[str, Step] | None = None

    def as_document(self) -> dict[str, Any]:
        """Return the fields that are recorded, as JSON holds them."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Step:
    """What carried out a part of a training, or an export; the fields are as in an Origin."""

    source: dict[str, str | bool | None]
    versions: dict[str, str]
    inputs: dict[str, str]  # of an export: EXPORT_INPUTS


@dataclass(frozen=True)
class Program:
    """What a training is computed by: the hash of its code, and as in an Origin."""

    code: str
    source: dict[str, str | bool | None]
    versions: dict[str, str]


@dataclass(frozen=True)
class Basis:
    """The inputs of a training, or of an export, that a person chooses."""

    code: str  # a SHA-256 over the source files that count
    recipe: dict[str, Any] | None  # as in an Origin; None of an export
    data: dict[str, str] | None  # as in an Origin; None of an export
    versions: dict[str, str]  # of the packages that compute

    @property
    def inputs(self) -> dict[str, str]:
        """A SHA-256 of each part, and one of `all`."""
        parts = {"code": self.code}
        if self.recipe is not None:  # 1 and 1.0 are the same
            numbers = {k: float(v) for k, v in self.recipe.items() if isinstance(v, int | float)}
            parts["recipe"] = _digest(_settings(self.recipe | numbers))
        if self.data is not None:
            parts["data"] = _digest(self.data)
        parts["versions"] = _digest(self.versions)
        return parts | {"all": _digest(parts)}


@dataclass(frozen=True)
class Changes:
    """What differs from what a bundle was made from, a line each."""

    training: list[str]
    export: list[str]

    @property
    def lines(self) -> list[str]:
        """All of them."""
        return [*self.training, *(f"export: {line}" for line in self.export)]


def training_basis(
    recipe: dict[str, Any], data: dict[str, str], *, constraints: Path | None = None
) -> Basis:
    """Return the inputs that training would have here and now.

    Args:
        recipe: as in an Origin.
        data: as in an Origin.
        constraints: a file of `name==version` lines to take the packages' versions from;
            None takes those that are installed.

    Raises:
        FileError: the file cannot be read, or does not pin a package that counts.
        MissingError: a package that counts is not installed.
    """
    return Basis(code_digest(TRAINING), recipe, data, _decisive(TRAINING_PACKAGES, constraints))


def export_basis(*, constraints: Path | None = None) -> Basis:
    """Return the inputs that an export would have here and now, as `training_basis` does."""
    return Basis(code_digest(EXPORT), None, None, _decisive(EXPORT_PACKAGES, constraints))


def changes_since(origin: Origin, record: Step | None, training: Basis, export: Basis) -> Changes:
    """Return what differs from what a bundle was trained and exported from."""
    if record is None or origin.inputs is None:
        unknown = "code: unknown; the bundle is from before fingerprints were recorded"
        return Changes([unknown], [])
    lines = [line for part in parts(origin) for line in _differences(part, training)]
    return Changes(list(dict.fromkeys(lines)), _differences(record, export))


def parts(origin: Origin) -> Iterator[Origin | Step]:
    """Yield what trained each part of a run, where they differ; the last is the origin itself."""
    yield from (origin.earlier or {}).values()
    yield origin


def differences(there: Origin, here: Origin) -> list[str]:
    """List what differs in all that the last bits can depend on, a line each."""
    lines: list[str] = []
    for part in parts(there):
        for kind in ("versions", "environment", "source"):
            now = getattr(here, kind)
            lines += changes(kind, getattr(part, kind, now), now)
        if part.inputs and here.inputs and part.inputs.get("code") != here.inputs["code"]:
            lines.append("code: what trains has changed since")
    return list(dict.fromkeys(lines))


def _differences(recorded: Origin | Step, basis: Basis) -> list[str]:
    lines, inputs = [], recorded.inputs or {}
    if inputs.get("code") != basis.code:
        lines = [f"code: changed since commit {recorded.source['commit']!s:.40}"]
    versions = {name: recorded.versions.get(name) for name in basis.versions}
    for kind, then, now in (
        ("recipe", getattr(recorded, "recipe", None), basis.recipe),
        ("data", getattr(recorded, "data", None), basis.data),
        ("versions", versions, basis.versions),
    ):
        if then is not None and now is not None and inputs.get(kind) != basis.inputs[kind]:
            lines += list(changes(kind, _settings(then), _settings(now))) or [f"{kind}: changed"]
    return lines


def training_program() -> Program:
    """Record the program that trains, which takes 60 ms; it needs no data set."""
    return Program(code_digest(TRAINING), source_commit(), _versions())


def origin_of(
    program: Program,
    recipe: dict[str, Any],
    data: dict[str, str],
    environment: dict[str, str | int],
    *,
    before: Origin | None = None,
) -> Origin:
    """Return what a run depends on, so that it can be repeated to the bit; see Origin.

    `before` is the origin of what was trained so far of a run that is resumed.
    """
    counting = {name: v for name, v in program.versions.items() if name in TRAINING_PACKAGES}
    inputs = Basis(program.code, recipe, data, counting).inputs
    origin = Origin(recipe, data, program.source, environment, program.versions, inputs)
    return replace(origin, earlier=_earlier(before, origin)) if before else origin


def _earlier(before: Origin, now: Origin) -> dict[str, Step] | None:
    """Return what trained the earlier parts of a run, each once, without what trains it now."""
    others: list[Step] = []
    last = Step(now.source, now.versions, now.inputs or {})
    for part in parts(before):
        earlier = Step(part.source, part.versions, part.inputs or {})
        if earlier not in (last, *others):
            others.append(earlier)
    return {str(number): part for number, part in enumerate(others, start=1)} or None


def export_record() -> Step:
    """Record what the export of a bundle depends on, beyond its weights."""
    return Step(source_commit(), _versions(), export_basis().inputs)


def changes(kind: str, then: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each value that differs; they may be hostile, so they are cut."""
    for name in dict.fromkeys((*then, *now)):
        if then.get(name) != now.get(name):
            yield f"{kind}: {name!s:.40} was {then.get(name)!r:.60}, is {now.get(name)!r:.60}"


def _digest(document: object) -> str:
    return sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def _settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe without its name, on which no weight depends."""
    return {name: value for name, value in recipe.items() if name != "name"}


def _decisive(packages: tuple[str, ...], constraints: Path | None) -> dict[str, str]:
    """Return the packages' versions: those that a file pins, or else those that are installed."""
    versions = _pins(constraints) if constraints else _installed(packages)
    for name in packages:
        if name not in versions and constraints:
            raise FileError(f"{constraints}: does not pin {name}; add a line {name}==VERSION")
        if name not in versions:
            raise MissingError(
                f"{name} is not installed; this needs: pip install 'mnistnet[train]',"
                " or --constraints with a file that pins it"
            )
    return {name: versions[name] for name in packages}


def _pins(constraints: Path) -> dict[str, str]:
    try:
        text = constraints.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{constraints}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise FileError(f"{constraints}: is not a text file; name a constraints.txt") from None
    return dict(re.findall(r"^(\S+)==([^\s;#+]+)", text, re.MULTILINE))


def _versions() -> dict[str, str]:
    """Return what is recorded: the versions of this program, Python, and the packages."""
    own = {"mnistnet": mnistnet.__version__, "python": platform.python_version()}
    return own | _installed((*TRAINING_PACKAGES, *EXPORT_PACKAGES))


def _installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name).split("+")[0]
    return found
