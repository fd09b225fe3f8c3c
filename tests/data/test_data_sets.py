from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistnet import data as datasets
from mnistnet.data import idx
from mnistnet.data.sets import KEYS, MNIST_SHA256
from mnistnet.errors import DataError
from mnistnet.model.architecture import MEAN, STD

TRAIN_IMAGES, _, _, TEST_LABELS = KEYS


def write_npz(path, arrays, save=np.savez):
    """Write four arrays, in the order of MNIST's files, by the names that Keras gives them."""
    save(path, **dict(zip(KEYS.values(), arrays, strict=True)))


# The real data


def test_the_repository_holds_mnist_with_the_mean_and_deviation_that_the_model_uses(mnist):
    assert mnist.train.images.shape == (60_000, 28, 28)
    assert mnist.test.images.shape == (10_000, 28, 28)
    assert mnist.train.images.dtype == mnist.train.labels.dtype == np.uint8
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.sha256 == MNIST_SHA256
    mean, square = mnist.train.images.mean(), np.square(mnist.train.images, dtype=np.uint16).mean()
    assert mean / 255 == pytest.approx(MEAN, abs=5e-5)
    assert np.sqrt(square - mean**2) / 255 == pytest.approx(STD, abs=5e-5)


def test_holding_out_takes_the_last_training_images_and_no_test_image(mnist):
    validation = mnist.hold_out(10_000)

    assert (len(validation.train), len(validation.test)) == (50_000, 10_000)
    assert np.array_equal(validation.train.images, mnist.train.images[:50_000])
    assert np.array_equal(validation.test.images, mnist.train.images[50_000:])
    assert np.array_equal(validation.test.labels, mnist.train.labels[50_000:])
    assert np.shares_memory(validation.train.images, mnist.train.images)
    assert validation.sha256["t10k-images-idx3-ubyte"] != mnist.sha256["t10k-images-idx3-ubyte"]


@pytest.mark.parametrize("n", [-1, 0, 20, 21])
def test_holding_out_nothing_or_everything_is_refused(noise, n):
    with pytest.raises(DataError, match="cannot be held out; choose 1 to 19"):
        noise.hold_out(n)
    assert len(noise.hold_out(19).train) == 1


# Folders of IDX files


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: f"{name}.gz",
        lambda name: name.replace("-idx", ".idx"),
        lambda name: f"fashion-{name}",
        lambda name: name.replace("t10k", "test"),
    ],
    ids=["plain", "gzipped", "dot", "prefix", "test"],
)
def test_a_folder_of_idx_files_is_a_data_set_however_their_names_are_spelled(
    tmp_path, arrays, noise, rename
):
    for name, array in arrays.items():
        idx.write(tmp_path / rename(name), array)
        (tmp_path / f"._{rename(name)}").write_bytes(b"hidden, left by macOS")

    assert datasets.load(tmp_path).sha256 == noise.sha256


def test_the_uncompressed_file_without_a_prefix_is_preferred(folder, arrays, noise):
    idx.write(folder / TRAIN_IMAGES, arrays[TRAIN_IMAGES])
    (folder / f"{TRAIN_IMAGES}.gz").write_bytes(b"never read")
    (folder / f"kuzushiji-{TRAIN_IMAGES}").write_bytes(b"")

    assert datasets.load(folder).sha256 == noise.sha256


def test_emnist_which_is_stored_transposed_is_read_upright(tmp_path, arrays, noise):
    for name, array in arrays.items():
        stored = array.transpose(0, 2, 1) if array.ndim == 3 else array
        emnist_name = f"emnist-digits-{name.replace('t10k', 'test')}.gz"
        idx.write(tmp_path / emnist_name, np.ascontiguousarray(stored))

    found = datasets.load(tmp_path)

    assert found.sha256 == noise.sha256
    assert found.train.images.flags.c_contiguous


def test_a_folder_with_several_data_sets_is_refused(tmp_path, arrays):
    for name, array in arrays.items():
        idx.write(tmp_path / f"emnist-digits-{name}", array)
        idx.write(tmp_path / f"emnist-mnist-{name}", array)

    with pytest.raises(DataError, match=r"several data sets \(emnist-digits-, emnist-mnist-\)"):
        datasets.load(tmp_path)


def test_files_that_are_missing_or_differ_in_number_are_named(folder, arrays):
    idx.write(folder / f"{TEST_LABELS}.gz", arrays[TEST_LABELS][:-1])
    complaint = r"t10k-labels.*holds 9 labels, but .*t10k-images.* holds 10 images"
    with pytest.raises(DataError, match=complaint):
        datasets.load(folder)

    (folder / f"{TEST_LABELS}.gz").unlink()
    with pytest.raises(DataError, match=r"tiny: has no file t10k-labels-idx1-ubyte \(or "):
        datasets.load(folder)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("digits.csv", "is neither a folder of IDX files nor an .npz"),
        ("digits.npz", "cannot be read"),
        ("nowhere", "no such folder or file"),
    ],
)
def test_a_path_that_is_no_data_set_is_refused(tmp_path, name, complaint):
    if "." in name:
        (tmp_path / name).write_bytes(b"PK, 1, 2, 3")

    with pytest.raises(DataError, match=f"{name}: {complaint}"):
        datasets.load(tmp_path / name)


# NumPy archives


@pytest.mark.parametrize(
    ("save", "labels"), [(np.savez, "u1"), (np.savez_compressed, ">i8")], ids=["stored", "deflated"]
)
def test_an_npz_with_kerass_arrays_is_a_data_set_with_the_same_hashes(
    tmp_path, arrays, noise, save, labels
):
    typed = (a.astype(labels) if a.ndim == 1 else a for a in arrays.values())
    write_npz(tmp_path / "mnist.npz", typed, save)

    assert datasets.load(tmp_path / "mnist.npz").sha256 == noise.sha256


@pytest.mark.parametrize(
    ("key", "change", "complaint"),
    [
        ("x_test", lambda _: None, "mnist.npz: has no array x_test"),
        ("y_test", lambda a: a[:-1], "y_test: holds 9 labels"),
        ("y_test", lambda a: a + 1, "y_test: holds the label 10"),
        ("y_test", lambda a: a.astype(int) + 256, "y_test: holds numbers beyond 0–255"),
        ("y_test", lambda a: a.astype(float), "y_test: holds float64"),
        ("y_test", lambda a: a[0], "y_test: has shape a single number, not N"),
        ("x_test", lambda a: a.astype(int), "x_test: holds int64, not uint8"),
        ("x_test", lambda a: a[..., None], "x_test: has shape 10×28×28×1, not N×28×28"),
        ("x_test", np.asfortranarray, "x_test: is in Fortran order"),
        ("x_test", lambda _: np.array([print, None]), "x_test: holds object, not uint8"),
    ],
)
def test_an_npz_that_does_not_fit_is_refused_naming_the_array(
    tmp_path, arrays, key, change, complaint
):
    keyed = dict(zip(KEYS.values(), arrays.values(), strict=True))
    changed = change(keyed.pop(key))
    np.savez(tmp_path / "mnist.npz", **keyed, **({} if changed is None else {key: changed}))

    with pytest.raises(DataError, match=complaint) as caught:
        datasets.load(tmp_path / "mnist.npz")

    assert str(tmp_path / "mnist.npz") in str(caught.value)


def npy(shape: str, body: bytes = b"", descr: str = "|u1") -> bytes:
    raw = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + body


DEFLATED, LZMA = zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA


@pytest.mark.parametrize(
    ("x_train", "compression", "complaint"),
    [
        pytest.param(b"", LZMA, "compressed in another way", id="LZMA"),
        pytest.param(b"", DEFLATED, "cannot be read", id="empty"),
        pytest.param(npy("(10**9, 28, 28)"), DEFLATED, "damaged header", id="arithmetic"),
        pytest.param(npy("(" * 9000), DEFLATED, "damaged header", id="deep"),
        pytest.param(
            npy("(999999999, 28, 28)"), DEFLATED, "holds 999,999,999 items, not", id="huge"
        ),
        pytest.param(npy("(9, 28, 28)"), DEFLATED, "is cut short", id="short"),
        pytest.param(
            npy("(1, 28, 28)", bytes(10_000_000)), DEFLATED, "goes on after its 1 item", id="bomb"
        ),
        pytest.param(npy("(1, 28, 28)", descr="|O"), DEFLATED, "holds object", id="pickle"),
        pytest.param(
            b"\x93NUMPY\x02\x00" + b"\xff" * 1000, DEFLATED, "another version", id="version 2"
        ),
    ],
)
def test_a_hostile_array_is_refused_before_it_is_decompressed(
    tmp_path, x_train, compression, complaint
):
    with zipfile.ZipFile(tmp_path / "evil.npz", "w", compression) as file:
        for key in KEYS.values():
            file.writestr(f"{key}.npy", x_train)

    with pytest.raises(DataError, match=complaint):
        datasets.load(tmp_path / "evil.npz")


@given(data=st.data())
def test_an_npz_with_any_bytes_replaced_is_read_or_refused_in_a_short_line(tmp_path_factory, data):
    images, labels = np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.uint8)
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    write_npz(path, (images, labels) * 2, np.savez_compressed)
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 40, len(content))))
    content[start:end] = data.draw(st.binary(max_size=40))
    path.write_bytes(content)

    complaint = ""
    try:
        datasets.load(path)
    except DataError as error:
        complaint = str(error)

    assert complaint.isprintable()
    assert len(complaint) < len(str(path)) + 200
