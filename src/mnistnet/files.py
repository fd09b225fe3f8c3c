"""Files and folders written atomically: a reader, or a power cut, sees the old or the new one.

    with atomic_write(Path("curve.png")) as temporary:      # one file
        image.save(temporary)
    with replace_folder(Path("out"), {"report.json"}) as temporary:   # several, all or none
        write_json(temporary / "report.json", report)

    with locked(Path("runs/fast-1")):      # nobody else writes it

Every OSError on the way becomes a FileError of one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistnet.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

HEX = "[0-9a-f]" * 8
SWAP_S = 60  # longer than any swap takes
# What desktops and network drives leave in a folder.
DESKTOP = re.compile(
    r"\.DS_Store|\._.*|\.localized|Icon\r|\.directory|(eh)?Thumbs\.db|desktop\.ini|@eaDir"
    r"|\.(nfs|fuse_hidden)[0-9a-f]+",
    re.IGNORECASE,
)


@contextmanager
def locked(path: Path, *, wait_s: float = 0) -> Iterator[None]:
    """Hold a lock on a path, which the operating system releases when its holder dies.

    The lock is a file next to the path, `.NAME.lock`, deleted at the block's end.

    Args:
        path: need not exist; its folder is made if it is missing.
        wait_s: how long to wait for whoever holds it.

    Raises:
        FileError: another process holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout  # 15 ms, not for who only reads

    file = path.with_name(f".{path.name.removeprefix('.')}.lock")
    lock = FileLock(file, timeout=wait_s, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise FileError(
            f"{path}: is being written by another process; wait until that has ended"
        ) from None
    except OSError as error:
        raise write_error(path, error) from error
    try:
        yield
    finally:
        with suppress(OSError):  # on Windows, where it is open, the release deletes it
            file.unlink()
        lock.release()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, which takes its place when the block succeeds.

    The bytes are on the disk before the name is. When the block fails, nothing is left behind.

    Raises:
        FileError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path) as temporary:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def replace_folder(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Yield a new folder next to `folder`, which takes its place when the block succeeds.

    When the block fails, nothing has changed. A link is followed, so that what it points to is
    replaced and not the link.

    Args:
        folder: may exist, if it holds nothing but files of these names.
        names: what may be replaced.

    Raises:
        FileError: the folder holds something else, is a file, or cannot be written.
    """
    target = folder.resolve()
    try:
        _check_replaceable(folder, names)
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target, wait_s=SWAP_S):
            restore(target)
        with _temporary(target) as temporary:
            temporary.mkdir()
            try:
                yield temporary
            except FileError as error:  # nobody has heard of the temporary folder
                raise FileError(str(error).replace(str(temporary), str(folder))) from error
            with locked(target, wait_s=SWAP_S):
                swap(temporary, target)
    except OSError as error:
        raise write_error(folder, error) from error


def swap(new: Path, target: Path) -> None:
    """Put a whole folder in the place of another, which is deleted then. Needs the target's lock.

    At every moment one of the two is whole, under one of three names; `restore` finds it.
    Raises OSError, with the old folder in its place.
    """
    old = replaced(target)
    _flush_names(new)
    if target.exists():
        _delete(old)  # of a swap that was killed
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        restore(target)
        raise
    _flush_names(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def restore(target: Path) -> None:
    """Clear up after a `swap` that was killed: put the old folder back, or finish deleting it.

    Needs the target's lock.
    """
    old = replaced(target)
    if old.exists() and target.exists():
        shutil.rmtree(old)
    elif old.exists():
        old.rename(target)


def replaced(target: Path) -> Path:
    """Return where `swap` keeps the old folder until the new one is in its place."""
    return target.with_name(f".{target.name}.replaced")


@contextmanager
def scratch_folder(root: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder that is deleted at the block's end, and those of killed processes.

    Args:
        root: where it is; by default where the system has such folders.

    Raises:
        FileError: it cannot be made.
    """
    root = root or Path(tempfile.gettempdir())
    with _temporary(root / "mnistnet") as folder:
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise write_error(root, error) from error
        yield folder


def entries(folder: Path) -> list[Path]:
    """List what is in a folder, in order, without what a desktop leaves everywhere."""
    return sorted(entry for entry in folder.iterdir() if not DESKTOP.fullmatch(entry.name))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises FileError where it cannot be written."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, document: object) -> None:
    """Write a JSON file atomically. Raises FileError where it cannot be written."""
    write_bytes(path, json_bytes(document))


def append_text(path: Path, text: str) -> None:
    """Add text to the end of a file; folder and file are made if they are missing.

    Raises:
        FileError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise write_error(path, error) from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileError: it is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: is not valid JSON ({error})") from error


def json_bytes(document: object) -> bytes:
    """Return readable JSON, keys in the order given, with a newline at the end."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode(errors="backslashreplace")  # half a character, as JSON writes it


def sha256(content: bytes | memoryview) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_error(path: Path, error: OSError) -> FileError:
    """Make the error for a path that cannot be written."""
    reason = error.strerror or str(error)
    return FileError(
        f"{path}: cannot be written ({reason}); free some space or choose another place"
    )


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield a new name next to `path`, and delete what has that name at the block's end.

    It is locked meanwhile. Such a name whose lock is free is what a killed process left: deleted.
    """
    for lock in path.parent.glob(f".{escape(path.stem)}.{HEX}{escape(path.suffix)}.lock"):
        left = lock.with_suffix("")
        with suppress(FileError), locked(left):
            _delete(left)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    with locked(temporary):
        try:
            yield temporary
        finally:
            with suppress(OSError):
                _delete(temporary)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _check_replaceable(folder: Path, names: Collection[str]) -> None:
    found = {entry.name for entry in entries(folder)} if folder.exists() else set()
    if foreign := sorted(found - set(names)):
        raise FileError(
            f"{folder}: holds {foreign[0]}, so it is not replaced; choose another folder"
        )


def _flush_names(folder: Path) -> None:
    """Write a folder's list of names to the disk; fsync of its files does not."""
    if os.name == "nt":
        return  # folders cannot be opened there; renaming is journaled
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
