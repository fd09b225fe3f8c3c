"""Where a bundle is put: a bundle that lies there is replaced, and nothing else ever is.

    target = replaceable(Path("bundle"))
    with files.replacing(target) as temporary:
        ...                                       # write and verify the bundle there

It is torchless, so that a bundle is pulled where there is no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnistnet import files
from mnistnet.bundle.manifest import BESIDE, FILES, MANIFEST, read_manifest

if TYPE_CHECKING:
    from pathlib import Path


def replaceable(directory: Path) -> Path:
    """Resolve links to the folder, lest one of them be replaced; refuse what is not a bundle.

    Raises:
        BundleError: its manifest is not a bundle's.
        FileError: something else lies in it, it is a file, or cannot be read.
    """
    target = files.replaceable(directory, {MANIFEST, *FILES, *BESIDE})
    if target.exists() and any(target.iterdir()):
        read_manifest(target)
    return target
