"""The rooms stand in one order, imports go to the left, and torch stays where it computes."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

from releases import Python

import mnistnet

SOURCE = Path(mnistnet.__file__).parent
# From left to right; files of one group may not import each other.
ORDER = (
    *(("errors",), ("files", "text"), ("extras",)),
    *(("model",), ("data",), ("provenance",), ("metrics",), ("report",), ("picture",)),
    *(("training",), ("bundle",), ("inference",), ("pages",), ("evaluation",), ("gate",)),
    *(("registry",), ("scale",), ("serving",), ("cli",)),
)
POSITION = {room: i for i, rooms in enumerate(ORDER) for room in rooms}
MAY_IMPORT_WHAT_THEY_OFFER = {"__init__", "__main__"}  # of the package itself
TORCH_ROOMS = ("model/network.py", "picture/", "training/torch_", "bundle/export.py")
HEAVY = {  # what only extras install, and the files that may import it at their top
    **dict.fromkeys(("torch", "torchinfo", "safetensors"), TORCH_ROOMS),
    **dict.fromkeys(("mlflow", "tensorboard"), ("training/tracking/",)),
    **dict.fromkeys(("onnx", "onnxscript"), ("bundle/",)),
    **dict.fromkeys(("model_signing", "cryptography", "id"), ("registry/signature.py",)),
    **dict.fromkeys(("fastapi", "uvicorn", "prometheus_client", "ray"), ("serving/",)),
}
# Where torch is not installed, these verbs and everything that they import still run.
TORCHLESS_VERBS = (
    *("predict", "eval", "gate", "publish", "history", "rollback", "pull", "diff", "verify"),
    *("data", "fingerprint", "train", "trials", "reproduce", "serve", "site"),
)


def _module(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(["mnistnet", *parts]).removesuffix(".__init__")


FILES = {_module(file): file for file in sorted(SOURCE.rglob("*.py"))}


def _imports(file: Path) -> dict[str, bool]:
    """Every module that a file imports anywhere, and whether that happens when it is imported."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    lazy = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef) or _is_type_checking(outer)
        for node in ast.walk(outer)
    }
    found: dict[str, bool] = {}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names = [*(inner & set(FILES)), *([node.module] if inner - set(FILES) else [])]
        for name in names:
            found[name] = found.get(name, False) or id(node) not in lazy
    return found


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


IMPORTS = {module: _imports(file) for module, file in FILES.items()}


def test_files_import_only_from_their_own_room_and_from_rooms_to_its_left() -> None:
    for module, imports in IMPORTS.items():
        for imported in imports:
            room, other = _room(module), _room(imported)
            if imported.startswith("mnistnet.") and room not in {
                other,
                *MAY_IMPORT_WHAT_THEY_OFFER,
            }:
                assert POSITION[other] < POSITION[room], f"{module} imports {imported}"


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {
        module: {name for name in imports if name in FILES and name != "mnistnet"}
        for module, imports in IMPORTS.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_what_only_extras_install_is_imported_at_the_top_of_its_own_rooms_only() -> None:
    for module, file in FILES.items():
        place = file.relative_to(SOURCE).as_posix()
        for imported, at_the_top in IMPORTS[module].items():
            rooms = HEAVY.get(imported.split(".")[0])
            if rooms and at_the_top:
                assert place.startswith(rooms), f"{place} imports {imported}"


def test_onnx_runtime_is_imported_in_one_file() -> None:
    importing = [module for module, imports in IMPORTS.items() if "onnxruntime" in imports]
    assert importing == ["mnistnet.bundle.runtime"]


def test_verbs_that_only_use_models_import_where_there_is_no_torch(python: Python) -> None:
    block = f"""
import sys
sys.modules.update(dict.fromkeys({tuple(HEAVY)!r}))
from mnistnet.cli import cli
for verb in {TORCHLESS_VERBS!r}:
    cli([verb, "--help"], standalone_mode=False)
"""
    done = python(block)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == len(TORCHLESS_VERBS)


def test_importing_the_package_imports_nothing_but_the_standard_library(python: Python) -> None:
    block = """
import sys
before = set(sys.modules)
import mnistnet
print({name.split(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)
"""
    assert python(block).stdout.strip() == "{'mnistnet'}"
