"""Atomic writes: the new file or folder is there whole, or the old one is untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnistnet.errors import FileError
from mnistnet.files import atomic_write, replace_folder

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, error: Exception | None = None) -> None:
    """Write a file atomically, or a part of it and then fail."""
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        if error:
            raise error


def replace(folder: Path, error: Exception | None = None) -> None:
    """Replace a folder by one with the file `b`, or fail before its end."""
    with replace_folder(folder, {"a", "b"}) as temporary:
        (temporary / "b").write_text("new")
        if error:
            raise error


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="any"):
        write(path, ValueError("any"))
    with pytest.raises(FileError, match=r"report\.json: cannot be written \(No space left\)"):
        write(path, OSError(28, "No space left"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

    write(path)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole_through_a_link_and_only_if_it_holds_nothing_else(
    tmp_path: Path,
) -> None:
    folder, link = tmp_path / "out", tmp_path / "link"
    folder.mkdir()
    (folder / "a").write_text("old")
    link.symlink_to(folder)
    with pytest.raises(ValueError, match="any"):
        replace(link, ValueError("any"))
    assert [file.name for file in folder.iterdir()] == ["a"]

    replace(link)
    assert link.is_symlink()
    assert [file.name for file in folder.iterdir()] == ["b"]
    assert {path.name for path in tmp_path.iterdir()} == {"out", "link"}

    (folder / "mine").write_text("a user's")
    with pytest.raises(FileError, match="holds mine, so it is not replaced"):
        replace(folder)
    assert (folder / "mine").read_text() == "a user's"
