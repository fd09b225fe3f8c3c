"""Hash the source that decides the weights, or the bytes of a bundle that is made of them.

    code_digest(TRAINING)      # changes where training again may give other weights
    code_digest(EXPORT)        # … where exporting again may give another bundle

Python files are found by following imports, so that a new one counts by itself; with each counts
the C++ in and below its folder, and the flags that it is compiled with. Of Python the syntax tree
counts, and of C++ the text without comments and spaces: comments, docstrings, formatting and
imports for types alone change nothing.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import mnistnet
from mnistnet.files import sha256

# Where a training and an export begin. What these import counts, directly or not, but for what
# finds, checks, keeps or shows things, and so decides no byte of the weights or of the bundle.
TRAINING, EXPORT = "training/train.py", "bundle/export_run.py"
DECIDE_NOTHING = (
    *("__init__.py", "errors.py", "extras.py", "files.py", "provenance/", "text.py"),
    *("data/download.py", "data/locations.py", "data/verify.py"),
    *("training/illustrations.py", "training/lifecycle.py", "training/recipe.py"),
    *("training/runs.py", "training/tracking/"),
    *("bundle/runtime.py", "bundle/verify.py", "bundle/weights.py"),
)
# What decides bytes all the same, where it is imported.
DECISIVE = frozenset(
    {
        ("mnistnet.files", "json_bytes"),
        ("mnistnet.text", "escape_markdown"),
        ("mnistnet.provenance", "Origin"),
        ("mnistnet.provenance", "parts"),
        ("mnistnet.bundle.runtime", "SIGNATURES"),
        ("mnistnet.bundle.weights", "batch_norm"),
    }
)
CPP_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
CPP_SPACE = re.compile(r"(?<!\w)\s+|\s+(?!\w)")  # all but that between two words


def code_digest(first: str) -> str:
    """Return a hash of a file of the package, and of those that it needs, directly or not."""
    root = Path(mnistnet.__file__).parent
    code: dict[str, str] = {}
    waiting = {first}
    while waiting:
        place = waiting.pop()
        code[place], imports = _parse((root / place).read_bytes())
        for module, name in imports & DECISIVE:
            file = root / str(_find(root, module, name))
            code[f"{module}.{name}"], _ = _parse(file.read_bytes(), name)
        found = {_find(root, module, name) for module, name in imports} - code.keys()
        waiting |= {place for place in found if place and not place.startswith(DECIDE_NOTHING)}
    for folder in {(root / place).parent for place in code}:
        for file in folder.rglob("*"):
            if file.suffix in (".cpp", ".h", ".cmake"):
                text = CPP_COMMENT.sub(r"\1", file.read_text(encoding="utf-8"))
                code[file.relative_to(root).as_posix()] = CPP_SPACE.sub("", text)
    return sha256(repr(sorted(code.items())).encode())


@cache
def _parse(source: bytes, wanted: str = "") -> tuple[str, frozenset[tuple[str, str]]]:
    """Return what counts of a Python file, and the names that it imports: (module, name).

    Args:
        source: the content of the file.
        wanted: the name whose definition counts; all of the file if there is none.
    """
    imports: set[tuple[str, str]] = set()
    tree = ast.parse(source)
    if wanted:
        tree.body = _definition(tree.body, wanted)
    return _plain(tree, imports), frozenset(imports)


def _definition(body: list[ast.stmt], name: str) -> list[ast.stmt]:
    """Return the statements of a file that define a name, and whatever of the file these use."""
    used, found = {name}, list[ast.stmt]()
    while new := [part for part in body if part not in found and used & _defined(part)]:
        found += new
        used |= {node.id for part in new for node in ast.walk(part) if isinstance(node, ast.Name)}
    return found


def _defined(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of a file defines."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return {statement.name}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return {
            node.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    return set()


def _plain(node: object, imports: set[tuple[str, str]]) -> str:
    """Return a syntax tree as text, the same for every version of Python.

    Args:
        node: the tree, or a part of it.
        imports: receives the names that it imports.
    """
    if isinstance(node, list):
        return f"[{','.join([_plain(item, imports) for item in node if not _is_idle(item)])}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.ImportFrom):
        imports.update((str(node.module), alias.name) for alias in node.names)
    fields = [(name, getattr(node, name, None)) for name in node._fields]
    # Newer versions have more fields, empty in code that an older one can read.
    kept = [f"{name}={_plain(value, imports)}" for name, value in fields if value not in (None, [])]
    return f"{type(node).__name__}({','.join(kept)})"


def _is_idle(statement: object) -> bool:
    """Return whether a statement is a docstring, or imports for types alone."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    test = statement.test if isinstance(statement, ast.If) else None
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _find(root: Path, module: str, name: str) -> str | None:
    """Return where a module of the package, or one of that name in it, lies; None for others."""
    package, *names = module.split(".")
    if package != "mnistnet":
        return None
    path = root.joinpath(*names)
    files = [path / f"{name}.py", path / name / "__init__.py", path.with_suffix(".py")]
    files.append(path / "__init__.py")
    return next((f.relative_to(root).as_posix() for f in files if f.is_file()), None)
