"""Where a result comes from: data, source, versions and processor, as the manifest records them."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import mnistnet
from mnistnet.bundle.manifest import Origin

if TYPE_CHECKING:
    from mnistnet.data import DataSet
    from mnistnet.training.recipe import Recipe

DECISIVE = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime", "safetensors")


def origin_of(recipe: Recipe, dataset: DataSet) -> Origin:
    """Record what a run depends on, so that it can be repeated to the bit.

    Args:
        recipe: what is done.
        dataset: what it is done with.
    """
    from mnistnet.training.hardware import describe

    return Origin(
        recipe=recipe.as_dict(),
        data=dataset.sha256,
        source=_source(),
        environment=describe(recipe),
        versions={"mnistnet": mnistnet.__version__, "python": platform.python_version()}
        | {name: v for name in DECISIVE if (v := _version(name))},
    )


def _version(package: str) -> str | None:
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return None


def _source() -> dict[str, str | bool | None]:
    """Name the commit that the package's source is at, and whether it was changed since."""
    folder = Path(mnistnet.__file__).parent
    commit = _git(folder, "log", "-1", "--format=%H", "--", ".")
    if not commit:  # an installed package, or no git
        return {"commit": None, "dirty": False}
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--", "."))}


def _git(folder: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run(  # noqa: S603 – fixed words
        [git, "-C", str(folder), *words], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else ""
