"""The house stands: imports go one way, and torch stays in its rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mnistnet

SOURCE = Path(mnistnet.__file__).parent
EVERYONE_MAY = {"errors", "extras", "files"}
MAY_IMPORT = {
    "errors": set(),
    "extras": set(),
    "files": set(),
    "data": set(),
    "model": set(),
    "picture": set(),
    "evaluation": set(),
    "training": {"data", "model"},
    "bundle": {"model", "picture"},
    "inference": {"bundle"},
    "delivery": {"evaluation", "bundle"},
    "pipeline": {
        *("data", "model", "evaluation", "training", "bundle", "inference", "delivery"),
    },
    "cli": {"pipeline", "inference", "data", "training", "evaluation", "delivery"},
    "__init__": {"inference"},
    "__main__": {"cli"},
}
TORCH_ROOMS = ("model.py", "picture/", "training/", "bundle/export.py", "pipeline/")
ONNX_ROOMS = ("bundle/export.py", "bundle/digit.py", "bundle/graph.py", "bundle/picture.py")
HEAVY = {  # what only extras install, and which files may import it
    **dict.fromkeys(("mlflow", "tensorboard"), ("pipeline/tracking/",)),
    **dict.fromkeys(("torch", "torchinfo", "safetensors"), TORCH_ROOMS),
    **dict.fromkeys(("onnx", "onnxscript"), ONNX_ROOMS),
    **dict.fromkeys(("model_signing", "cryptography", "id"), ("delivery/signature.py",)),
}


def _room(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(file: Path) -> list[tuple[str, bool]]:
    """Every module that a file imports, and whether it does so at its top when it runs."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef) or _is_type_checking(outer)
        for node in ast.walk(outer)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            top = id(node) not in inside
            if node.module == "mnistnet":
                found += [(f"mnistnet.{alias.name}", top) for alias in node.names]
            else:
                found.append((str(node.module), top))
    return found


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(SOURCE).as_posix())
def test_a_file_imports_only_what_its_room_may(file: Path) -> None:
    room = _room(file)
    for module, _ in _imports(file):
        parts = module.split(".")
        if parts[0] == "mnistnet" and parts[1:] and parts[1] != "__version__":
            assert parts[1] in MAY_IMPORT[room] | EVERYONE_MAY | {room}, f"{file} imports {module}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(SOURCE).as_posix())
def test_torch_is_imported_only_in_its_rooms_and_in_the_pipeline_only_inside_functions(
    file: Path,
) -> None:
    place = file.relative_to(SOURCE).as_posix()
    for module, at_the_top in _imports(file):
        rooms = HEAVY.get(module.split(".")[0])
        if rooms:
            assert place.startswith(rooms), f"{place} imports {module}"
            assert not (at_the_top and place.startswith("pipeline/")), f"{place} imports {module}"


@pytest.mark.parametrize(
    "module",
    [
        "mnistnet.data",
        "mnistnet.evaluation",
        "mnistnet.inference",
        *(f"mnistnet.bundle.{name}" for name in ("folder", "vectors", "verify")),
        *(f"mnistnet.cli.{name}" for name in ("bundle", "data", "eval", "gate", "predict")),
        *(f"mnistnet.cli.{name}" for name in ("provenance", "registry", "signer", "train")),
        *(f"mnistnet.delivery.{name}" for name in ("gates", "registry", "rules", "signature")),
        *(f"mnistnet.pipeline.{name}" for name in ("evaluate", "export", "gate", "measures")),
        *(f"mnistnet.pipeline.{name}" for name in ("provenance", "publish", "published")),
        *(f"mnistnet.pipeline.{name}" for name in ("reproduce", "tracking", "train", "trials")),
    ],
)
def test_what_needs_no_torch_imports_where_there_is_none(module: str) -> None:
    block = f"import sys; sys.modules.update(dict.fromkeys({tuple(HEAVY)!r})); import {module}"
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_but_the_standard_library() -> None:
    block = """
import sys
before = set(sys.modules)
import mnistnet
print({name.split(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)
"""
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'mnistnet'}"
