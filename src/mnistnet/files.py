"""Files written whole or not at all, and the fingerprints that name their bytes."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mnistnet.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Hand out a temporary path beside `path`, which takes its place when the block ends well.

    The bytes are on the disk before the name is: a reader, or a power cut, sees the old file
    or the new one, never a part. When the block fails, nothing is left behind.

    Raises:
        FileError: the folder or the disk does not take the file.
    """
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def replaceable(folder: Path, names: Collection[str]) -> Path:
    """Resolve links to a folder, lest one of them be replaced, and look at what is in it.

    Args:
        folder: what `replacing` is to be given; it need not be there.
        names: what may be replaced.

    Raises:
        FileError: it holds something of another name, is a file, or cannot be read.
    """
    target = folder.resolve()
    try:
        there = {entry.name for entry in target.iterdir()} if target.exists() else set()
    except OSError as error:
        raise unwritable(folder, error) from error
    if foreign := sorted(there - set(names)):
        raise FileError(
            f"{folder}: holds {foreign[0]}, so it is not replaced; choose another folder"
        )
    return target


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Hand out a new folder beside `folder`, which takes its place when the block ends well.

    All of its files are there or none is. What lay in its place before is gone then; look at that
    first, with `replaceable`. When the block fails, nothing has changed.

    Raises:
        FileError: the place or the disk does not take the folder.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    aside = temporary.with_suffix(".replaced")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _flush_names_to_disk(temporary)
        if folder.exists():
            folder.rename(aside)
        temporary.rename(folder)
        _flush_names_to_disk(folder.parent)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically. Raises FileError where it cannot."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically: readable, keys in the order given, a newline at the end."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


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


def sha256(content: bytes | memoryview) -> str:
    """Give the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def unwritable(path: Path, error: OSError) -> FileError:
    """Put into one line why a path cannot be written."""
    reason = error.strerror or str(error)
    return FileError(
        f"{path}: cannot be written ({reason}); free some space or choose another place"
    )


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_names_to_disk(folder: Path) -> None:
    """Have a folder's names written down, not only its files' content."""
    if os.name == "nt":
        return  # folders cannot be opened there; renaming is journaled
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
