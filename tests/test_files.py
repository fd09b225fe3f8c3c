"""Atomic writes: the new file or folder is there whole, or the old one is untouched."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mnistnet.errors import FileError
from mnistnet.files import atomic_write, locked, replace_folder, scratch_folder, write_bytes


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


def test_a_write_that_fails_inside_a_folder_names_the_folder_that_was_given(tmp_path: Path) -> None:
    def fail() -> None:
        with replace_folder(tmp_path / "out", {"a"}) as temporary:
            (temporary / "a").write_text("")
            write_bytes(temporary / "a" / "b", b"")

    with pytest.raises(FileError, match=rf"^{tmp_path}/out/a/b: cannot be written"):
        fail()
    assert not list(tmp_path.iterdir())


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

    (folder / ".DS_Store").write_text("what a desktop leaves")
    replace(folder)
    assert [file.name for file in folder.iterdir()] == ["b"]

    (folder / "mine").write_text("a user's")
    with pytest.raises(FileError, match="holds mine, so it is not replaced"):
        replace(folder)
    assert (folder / "mine").read_text() == "a user's"
    with pytest.raises(FileError, match=r"/: holds .*, so it is not replaced"):
        replace(Path(folder.anchor))


KILLED = """
import os, signal, sys
from pathlib import Path
from mnistnet.files import replace_folder
rename, calls = Path.rename, 0
def killing(path, target):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
Path.rename = killing
with replace_folder(Path(sys.argv[1]), {"a", "b"}) as temporary:
    (temporary / "a").write_text("killed")
"""


@pytest.mark.parametrize("rename", [1, 2])
def test_after_a_kill_while_a_folder_is_replaced_the_next_call_replaces_it(
    rename: int, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(rename)], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(ValueError, match="any"):
        replace(folder, ValueError("any"))
    assert (folder / "a").read_text() == "old"
    replace(folder)
    assert [file.name for file in folder.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [folder]


WRITING = """
import os, signal, sys
from pathlib import Path
from mnistnet.files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("part")
    print("writing", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_swept_and_what_a_running_one_writes_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "report.json"
    words = [sys.executable, "-c", WRITING, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"writing\n"
        (part,) = tmp_path.glob("*.json")
        write(path)
        assert {*tmp_path.glob("*.json")} == {path, part}
        assert part.read_text() == "part"
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert part.exists()
    write(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_is_held_by_one_until_the_block_ends(tmp_path: Path) -> None:
    busy = pytest.raises(FileError, match=r"good: is being written by another process; wait ")
    with locked(tmp_path / "good"), locked(tmp_path / "other"), busy:
        locked(tmp_path / "good").__enter__()
    with locked(tmp_path / "good"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder should be")
    with pytest.raises(FileError, match=r"file.good: cannot be written \(File exists\); "):
        locked(tmp_path / "file" / "good").__enter__()


SCRATCH = """
import os, signal
from mnistnet.files import scratch_folder
with scratch_folder() as folder:
    (folder / "large").write_text("left")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_scratch_folder_of_a_killed_process_is_deleted_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def folders() -> list[Path]:
        return [path for path in tmp_path.iterdir() if path.is_dir()]

    with scratch_folder() as mine:
        subprocess.run([sys.executable, "-c", SCRATCH], check=False)
        (left,) = {*folders()} - {mine}
        with scratch_folder() as another:
            assert {*folders()} == {mine, another}
    assert not list(tmp_path.iterdir())
    assert left != mine
