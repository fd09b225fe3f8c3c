"""Where a bundle is put: a bundle that lies there is replaced, and nothing else ever is.

    with replace_bundle(Path("bundle")) as temporary:
        ...                                       # write and verify the bundle there

It is torchless, so that a bundle is pulled where there is no torch.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnistnet.bundle.manifest import BESIDE, FILES, MANIFEST, read_manifest
from mnistnet.files import replace_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replace_bundle(directory: Path) -> Iterator[Path]:
    """Yield a new folder that takes a bundle's place when the block succeeds.

    Raises:
        BundleError: a manifest that lies in the directory is not a bundle's.
        FileError: something else lies in it, it is a file, or cannot be written.
    """
    with replace_folder(directory, {MANIFEST, *FILES, *BESIDE}) as temporary:
        if directory.exists() and any(directory.iterdir()):
            read_manifest(directory)
        yield temporary
