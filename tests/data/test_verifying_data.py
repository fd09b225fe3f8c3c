from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnistnet.data import idx, verify

if TYPE_CHECKING:
    from pathlib import Path

LABELS = "t10k-labels-idx1-ubyte"


def states(path: Path, **options: object) -> list[str]:
    return [check.state for check in verify(path, **options)]


def test_another_data_set_is_whole_without_being_mnist(folder):
    checks = verify(folder)

    assert [check.state for check in checks] == ["other"] * 4
    assert all(check.usable for check in checks)
    assert [check.count for check in checks] == [20, 20, 10, 10]


def test_one_changed_pixel_is_noticed(folder, arrays):
    known = {name: idx.sha256(array) for name, array in arrays.items()}
    assert states(folder, known_sha256=known) == ["ok"] * 4

    arrays["train-images-idx3-ubyte"][3, 14, 14] ^= 1
    idx.write(folder / "train-images-idx3-ubyte.gz", arrays["train-images-idx3-ubyte"])

    assert states(folder, known_sha256=known) == ["other", "ok", "ok", "ok"]


def test_a_damaged_or_missing_file_does_not_hide_the_others(folder):
    file = folder / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-4])
    (folder / f"{LABELS}.gz").unlink()

    checks = verify(folder)

    assert [check.state for check in checks] == ["other", "damaged", "other", "missing"]
    assert checks[1].detail.startswith("cannot be read")
    assert not checks[1].usable
    assert checks[3].name == LABELS


def test_labels_that_do_not_match_their_images_in_number_are_damage(folder, arrays):
    idx.write(folder / f"{LABELS}.gz", arrays[LABELS][:-1])

    checks = verify(folder)

    assert [check.state for check in checks] == ["other", "other", "other", "damaged"]
    assert checks[3].detail == "holds 9 labels for 10 images"


def test_an_archive_is_verified_array_by_array(tmp_path, arrays):
    keys = ("x_train", "y_train", "x_test", "y_test")
    np.savez(tmp_path / "some.npz", **dict(zip(keys, arrays.values(), strict=True)))

    assert states(tmp_path / "some.npz") == ["other"] * 4
