"""Where a result comes from, and whether training again would start from anything else.

    origin_of(recipe, data, environment)          # what a run's and a bundle's record say
    basis_of(recipe, data).inputs["all"]          # `mnistnet fingerprint`
    differences(origin, basis_of(recipe, data))   # … `--against BUNDLE`

The fingerprint is a hash of what a person chooses: source, recipe, data and the packages'
versions. The processor, its threads and its precision decide the last bits too, but another one is
no reason to train again; `Origin.environment` records them.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mnistnet
from mnistnet.errors import FileError, MissingError
from mnistnet.files import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RECORDED = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime", "safetensors")
DECISIVE = ("torch", "numpy")  # their versions count in the fingerprint
ROOMS = ("data", "model", "training")  # and so does every source file of these
INPUTS = ("code", "recipe", "data", "versions", "all")


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
        inputs: a SHA-256 of each kind of input of the training, and one of all of them (see
            INPUTS); None in bundles from before these were recorded.
    """

    recipe: dict[str, Any]
    data: dict[str, str]
    source: dict[str, str | bool | None]
    environment: dict[str, str | int]
    versions: dict[str, str]
    inputs: dict[str, str] | None = None


@dataclass(frozen=True)
class Basis:
    """The inputs of a training that a person chooses.

    Attributes:
        code: a SHA-256 over the source files of the rooms that train.
        recipe: every hyperparameter by name.
        data: the SHA-256 of each file of the data set.
        versions: of the packages that compute.
    """

    code: str
    recipe: dict[str, Any]
    data: dict[str, str]
    versions: dict[str, str]

    @property
    def inputs(self) -> dict[str, str]:
        """A SHA-256 of each part, and one of `all`."""
        settings = {name: _as_float(value) for name, value in _settings(self.recipe).items()}
        parts = {
            "code": self.code,
            "recipe": _digest(settings),
            "data": _digest(self.data),
            "versions": _digest(self.versions),
        }
        return parts | {"all": _digest(parts)}


def basis_of(
    recipe: dict[str, Any], data: dict[str, str], *, constraints: Path | None = None
) -> Basis:
    """Return the inputs that training would have here and now.

    Args:
        recipe: every hyperparameter by name.
        data: the SHA-256 of each file of the data set, by the file's name.
        constraints: a file of `name==version` lines to take the packages' versions from;
            None takes those that are installed.

    Raises:
        FileError: the file cannot be read, or does not pin a package that counts.
        MissingError: a package that counts is not installed.
    """
    versions = _pinned(constraints) if constraints else _installed()
    return Basis(_code(), recipe, data, versions)


def differences(origin: Origin, basis: Basis) -> list[str]:
    """List what differs between the origin of some weights and a basis, a line each."""
    if origin.inputs is None:
        return ["code: unknown; the bundle is from before fingerprints were recorded"]
    lines = []
    if origin.inputs["code"] != basis.code:
        lines = [f"code: changed since commit {origin.source['commit']!s:.40}"]
    versions = {name: origin.versions.get(name) for name in basis.versions}
    for kind, then, now in (
        ("recipe", _settings(origin.recipe), _settings(basis.recipe)),
        ("data", origin.data, basis.data),
        ("versions", versions, basis.versions),
    ):
        if origin.inputs[kind] != basis.inputs[kind]:
            lines += list(changes(kind, then, now)) or [f"{kind}: changed"]
    return lines


def origin_of(
    recipe: dict[str, Any], data: dict[str, str], environment: dict[str, str | int]
) -> Origin:
    """Record what a run depends on, so that it can be repeated to the bit.

    Args:
        recipe: every hyperparameter by name.
        data: the SHA-256 of each file of the data set, by the file's name.
        environment: what repeatability depends on beyond these: engine, precision, threads.
    """
    return Origin(
        recipe=recipe,
        data=data,
        source=_source(),
        environment=environment,
        versions={"mnistnet": mnistnet.__version__, "python": platform.python_version()}
        | {name: v for name in RECORDED if (v := _version(name))},
        inputs=basis_of(recipe, data).inputs,
    )


def changes(kind: str, then: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each value that differs; they may be hostile, so they are cut."""
    for name in dict.fromkeys((*then, *now)):
        if then.get(name) != now.get(name):
            yield f"{kind}: {name!s:.40} was {then.get(name)!r:.60}, is {now.get(name)!r:.60}"


def _code() -> str:
    """Return a hash of the rooms' source files, whatever their line endings."""
    root = Path(mnistnet.__file__).parent
    files = [f for room in ROOMS for f in (root / room, *(root / room).rglob("*"))]
    return _digest(
        {
            file.relative_to(root).as_posix(): sha256(file.read_bytes().replace(b"\r\n", b"\n"))
            for file in files
            if file.suffix in (".py", ".cpp", ".h")
        }
    )


def _digest(document: object) -> str:
    return sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def _settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe without its name, on which no weight depends."""
    return {name: value for name, value in recipe.items() if name != "name"}


def _as_float(value: object) -> object:
    """Return 1 and 1.0 as the same value."""
    return float(value) if isinstance(value, int | float) else value


def _installed() -> dict[str, str]:
    versions = {name: _version(name) for name in DECISIVE}
    for name, found in versions.items():
        if found is None:
            raise MissingError(
                f"{name} is not installed; this needs: pip install 'mnistnet[train]',"
                " or --constraints with a file that pins it"
            )
    return {name: str(found) for name, found in versions.items()}


def _pinned(constraints: Path) -> dict[str, str]:
    try:
        text = constraints.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{constraints}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise FileError(f"{constraints}: is not a text file; name a constraints.txt") from None
    versions = dict(re.findall(r"^(\S+)==([^\s;#+]+)", text, re.MULTILINE))
    for name in DECISIVE:
        if name not in versions:
            raise FileError(f"{constraints}: does not pin {name}; add a line {name}==VERSION")
    return {name: versions[name] for name in DECISIVE}


def _version(package: str) -> str | None:
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return None


def _source() -> dict[str, str | bool | None]:
    """Return the commit of the package's source, and whether it was changed since.

    It is the one that is checked out: the last one that touched the package is another in a
    shallow clone, whose first commit seems to have touched everything.
    """
    folder = Path(mnistnet.__file__).parent
    if not _git(folder, "ls-files", "--", "."):  # an installed package, or no git
        return {"commit": None, "dirty": False}
    commit = _git(folder, "rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--", "."))}


def _git(folder: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run(  # noqa: S603 – fixed words
        [git, "-C", str(folder), *words], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else ""
