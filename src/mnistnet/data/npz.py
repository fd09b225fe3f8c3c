"""NumPy archives with Keras's four arrays: `read(path, "x_train", (28, 28))`.

An `.npz` is a zip of `.npy` files. It may be hostile: pickles are refused, and the shape in
each header is checked before anything is allocated or decompressed.
"""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.lib import format as npy

from mnistnet.data import idx
from mnistnet.errors import DataError

if TYPE_CHECKING:
    from io import BufferedIOBase
    from pathlib import Path

    from numpy.typing import NDArray

# What `zipfile` and `numpy` raise for a damaged, encrypted or malicious archive.
READ_ERRORS = (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile)


def keys(path: Path) -> set[str]:
    """Return the names of the arrays in an archive.

    Raises:
        DataError: the file is no such archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except READ_ERRORS as error:
        raise idx.read_error(str(path), error) from error
    return {name.removesuffix(".npy") for name in names if name.endswith(".npy")}


def read(path: Path, key: str, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read one array of an archive.

    Args:
        path: the archive.
        key: the array's name in it.
        item_shape: what each item must be: (28, 28) for images, () for labels.

    Returns:
        uint8 (N, *item_shape), N at least 1; labels of a wider type are narrowed.

    Raises:
        DataError: the array is damaged, or is something else.
    """
    where = f"{path}, {key}"
    try:
        with zipfile.ZipFile(path) as archive, _member(archive, key) as file:
            shape, dtype = _read_header(file, where)
            idx.check_shape(shape, item_shape, where)
            return _narrow(idx.read_array(file, shape, dtype, where), where)
    except READ_ERRORS as error:
        raise idx.read_error(where, error) from error


def _member(archive: zipfile.ZipFile, key: str) -> BufferedIOBase:
    member = archive.getinfo(f"{key}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("it is compressed in another way than NumPy's")
    return cast("BufferedIOBase", archive.open(member))


def _read_header(file: BufferedIOBase, where: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    # Version 1.0 is what NumPy writes for arrays like these, and bounds the header to 64 KiB.
    if npy.read_magic(file) != (1, 0):
        raise DataError(f"{where}: is an array in another version of NumPy's format than 1.0")
    try:
        shape, fortran_order, dtype = npy.read_array_header_1_0(file)
    except Exception as error:  # NumPy's parser fails on invalid headers in a dozen ways
        raise DataError(f"{where}: has a damaged header; get it again") from error
    if fortran_order and len(shape) > 1:
        raise DataError(f"{where}: is in Fortran order; save it with np.ascontiguousarray")
    if dtype != np.uint8 and (dtype.kind not in "iu" or len(shape) > 1):
        raise DataError(f"{where}: holds {str(dtype)[:40]}, not uint8")
    return shape, dtype


def _narrow(array: NDArray[np.integer], where: str) -> NDArray[np.uint8]:
    if array.min() < 0 or array.max() > 255:
        raise DataError(f"{where}: holds numbers beyond 0–255")
    return array.astype(np.uint8, copy=False)
