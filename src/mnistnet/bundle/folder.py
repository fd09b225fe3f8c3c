"""Where a bundle is put: replaced as a whole, and only if nothing but a bundle lies there.

target = replaceable(Path("bundle"))
with replacing(target) as temporary:
    ...                                       # write and verify the bundle there
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import BESIDE, FILES, MANIFEST, read_manifest
from mnistnet.errors import BundleError
from mnistnet.files import unwritable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def replaceable(directory: Path) -> Path:
    """Resolve links to the folder, lest one of them be replaced; refuse what is not a bundle.

    Raises:
        BundleError: something else lies in it.
        FileError: it is a file, or cannot be read.
    """
    target = directory.resolve()
    try:
        names = {entry.name for entry in target.iterdir()} if target.exists() else set()
    except OSError as error:
        raise unwritable(target, error) from error
    foreign = sorted(names - {MANIFEST, *FILES, *BESIDE})
    if foreign:
        raise BundleError(
            f"{target}: holds {foreign[0]}, so it is not replaced; choose another directory"
        )
    if names:
        read_manifest(target)
    return target


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Hand out a new folder beside `target`, which takes its place when the block ends well."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    aside = temporary.with_suffix(".replaced")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        flush_to_disk(temporary)
        if target.exists():
            target.rename(aside)
        temporary.rename(target)
        flush_to_disk(target.parent)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        if aside.exists() and not target.exists():
            aside.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def flush_to_disk(folder: Path) -> None:
    """Have a folder's names written down, not only its files' content."""
    if os.name == "nt":
        return  # folders cannot be opened there; renaming is journaled
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
