from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnistnet import data as datasets
from mnistnet.data import idx
from mnistnet.data.sets import MNIST_SHA256
from mnistnet.errors import DataError
from mnistnet.model.architecture import MEAN, STD

KERAS = ("x_train", "y_train", "x_test", "y_test")


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
def test_holding_out_nothing_or_everything_is_refused(tiny, n):
    with pytest.raises(DataError, match="cannot be held out; choose 1 to 19"):
        tiny.hold_out(n)
    assert len(tiny.hold_out(19).train) == 1


# Folders of IDX files


def test_a_folder_of_gzipped_idx_files_is_a_data_set(folder, tiny, same):
    found = datasets.load(folder)

    assert same(found, tiny)
    assert found.source == str(folder)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: name.replace("-idx", ".idx"),
        lambda name: name.replace("-idx", ".idx") + ".gz",
        lambda name: f"fashion-{name}",
        lambda name: name.replace("t10k", "test"),
    ],
    ids=["plain", "dot", "dot, gzipped", "prefix", "test"],
)
def test_other_spellings_of_the_names_are_understood(tmp_path, arrays, tiny, same, rename):
    for name, array in arrays.items():
        idx.write(tmp_path / rename(name), array)

    assert same(datasets.load(tmp_path), tiny)


def test_emnist_which_is_stored_transposed_is_read_upright(tmp_path, arrays, tiny, same):
    for name, array in arrays.items():
        stored = array.transpose(0, 2, 1) if array.ndim == 3 else array
        emnist_name = f"emnist-digits-{name.replace('t10k', 'test')}.gz"
        idx.write(tmp_path / emnist_name, np.ascontiguousarray(stored))

    found = datasets.load(tmp_path)

    assert same(found, tiny)
    assert found.train.images.flags.c_contiguous


def test_an_uncompressed_file_is_preferred_to_its_gzipped_twin(folder, arrays, tiny, same):
    name = "train-images-idx3-ubyte"
    idx.write(folder / name, arrays[name])
    (folder / f"{name}.gz").write_bytes(b"never read")

    assert same(datasets.load(folder), tiny)


def test_a_folder_with_several_data_sets_is_refused(tmp_path, arrays):
    for name, array in arrays.items():
        idx.write(tmp_path / f"emnist-digits-{name}", array)
        idx.write(tmp_path / f"emnist-mnist-{name}", array)

    with pytest.raises(DataError, match=r"several data sets \(emnist-digits-, emnist-mnist-\)"):
        datasets.load(tmp_path)


def test_mnist_is_taken_where_prefixed_files_lie_next_to_it(folder, tiny, same):
    (folder / "kuzushiji-train-images-idx3-ubyte").write_bytes(b"")

    assert same(datasets.load(folder), tiny)


def test_hidden_files_are_no_second_data_set(tmp_path, arrays, tiny, same):
    for name, array in arrays.items():
        idx.write(tmp_path / f"fashion-{name}", array)
        (tmp_path / f"._fashion-{name}").write_bytes(b"left by macOS")

    assert same(datasets.load(tmp_path), tiny)


def test_a_missing_file_is_named(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()

    with pytest.raises(DataError, match=r"tiny: has no file t10k-labels-idx1-ubyte \(or "):
        datasets.load(folder)


def test_counts_that_differ_are_refused_naming_both_files(folder, arrays):
    name = "t10k-labels-idx1-ubyte"
    idx.write(folder / f"{name}.gz", arrays[name][:-1])

    with pytest.raises(
        DataError, match=r"t10k-labels.*holds 9 labels, but .*t10k-images.* 10 images"
    ):
        datasets.load(folder)


def test_labels_beyond_nine_are_refused(folder, arrays):
    name = "train-labels-idx1-ubyte"
    idx.write(folder / f"{name}.gz", arrays[name] + 1)

    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: holds the label 10"):
        datasets.load(folder)


def test_a_path_that_is_no_data_set_is_refused(tmp_path):
    (tmp_path / "digits.csv").write_text("1,2,3")

    with pytest.raises(
        DataError, match=r"digits\.csv: is neither a folder of IDX files nor an .npz"
    ):
        datasets.load(tmp_path / "digits.csv")
    with pytest.raises(DataError, match="nowhere: no such folder or file"):
        datasets.load(tmp_path / "nowhere")


# NumPy archives


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_with_kerass_arrays_is_a_data_set_with_the_same_hashes(
    tmp_path, arrays, tiny, same, save
):
    save(tmp_path / "mnist.npz", **dict(zip(KERAS, arrays.values(), strict=True)))

    found = datasets.load(tmp_path / "mnist.npz")

    assert same(found, tiny)
    assert found.sha256 == tiny.sha256


def test_labels_in_an_npz_may_be_wide_integers(tmp_path, arrays, tiny, same):
    wide = {
        k: a.astype(">i8") if a.ndim == 1 else a
        for k, a in zip(KERAS, arrays.values(), strict=True)
    }
    np.savez(tmp_path / "mnist.npz", **wide)

    assert same(datasets.load(tmp_path / "mnist.npz"), tiny)


@pytest.mark.parametrize(
    ("key", "change", "complaint"),
    [
        ("x_test", lambda _: None, "mnist.npz: has no array x_test"),
        ("y_test", lambda a: a[:-1], "y_test: holds 9 labels"),
        ("y_test", lambda a: a + 1, "y_test: holds the label 10"),
        ("y_test", lambda a: a.astype(int) + 256, "y_test: holds numbers beyond 0–255"),
        ("y_test", lambda a: a.astype(int) - 1, "y_test: holds numbers beyond 0–255"),
        ("y_test", lambda a: a.astype(float), "y_test: holds float64"),
        ("y_test", lambda a: a[0], "y_test: has shape a single number, not N"),
        ("x_test", lambda a: a / 255, "x_test: holds float64, not uint8"),
        ("x_test", lambda a: a.astype(int), "x_test: holds int64, not uint8"),
        ("x_test", lambda a: a[..., None], "x_test: has shape 10×28×28×1, not N×28×28"),
        ("x_test", lambda a: a[:0], "x_test: holds 0 items"),
        ("x_test", np.asfortranarray, "x_test: is in Fortran order"),
        ("x_test", lambda _: np.array([print, None]), "x_test: holds object, not uint8"),
    ],
)
def test_an_npz_that_does_not_fit_is_refused_naming_the_array(
    tmp_path, arrays, key, change, complaint
):
    keyed = dict(zip(KERAS, arrays.values(), strict=True))
    changed = change(keyed.pop(key))
    np.savez(tmp_path / "mnist.npz", **keyed, **({} if changed is None else {key: changed}))

    with pytest.raises(DataError, match=complaint) as caught:
        datasets.load(tmp_path / "mnist.npz")

    assert str(tmp_path / "mnist.npz") in str(caught.value)


def archive(path, x_train: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x_train.npy", x_train)
        for key in KERAS[1:]:
            file.writestr(f"{key}.npy", b"")


def npy(shape: str, body: bytes = b"", descr: str = "|u1") -> bytes:
    raw = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + body


@pytest.mark.parametrize(
    ("x_train", "complaint"),
    [
        pytest.param(b"", "cannot be read", id="empty"),
        pytest.param(npy("(10**9, 28, 28)"), "damaged header", id="arithmetic"),
        pytest.param(npy("(" * 9000), "damaged header", id="deep"),
        pytest.param(npy("(-1, 28, 28)"), "holds -1 items", id="negative"),
        pytest.param(npy("(999999999, 28, 28)"), "holds 999,999,999 items, not", id="huge"),
        pytest.param(npy("(9, 28, 28)"), "is cut short", id="short"),
        pytest.param(npy("(1, 28, 28)", bytes(10_000_000)), "goes on after its 1 item", id="bomb"),
        pytest.param(npy("(1, 28, 28)", descr="|O"), "holds object", id="pickle"),
        pytest.param(b"\x93NUMPY\x02\x00" + b"\xff" * 1000, "another version", id="version 2"),
    ],
)
def test_a_made_up_array_is_refused_before_it_is_unpacked(tmp_path, x_train, complaint):
    archive(tmp_path / "evil.npz", x_train)

    with pytest.raises(DataError, match=complaint):
        datasets.load(tmp_path / "evil.npz")


def test_a_damaged_npz_is_refused(tmp_path, arrays):
    path = tmp_path / "mnist.npz"
    np.savez(path, **dict(zip(KERAS, arrays.values(), strict=True)))
    content = bytearray(path.read_bytes())
    content[content.index(arrays["train-images-idx3-ubyte"].tobytes()[:100])] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x_train: cannot be read .*CRC"):
        datasets.load(path)

    path.write_bytes(b"PK but no more")
    with pytest.raises(DataError, match=r"mnist\.npz: cannot be read"):
        datasets.load(path)


def test_an_npz_that_numpy_did_not_write_is_refused(tmp_path):
    for names, compression, complaint in [
        ([f"{key}.npy" for key in KERAS], zipfile.ZIP_LZMA, "compressed in another way"),
        (KERAS, zipfile.ZIP_STORED, "has no array x_train"),
    ]:
        with zipfile.ZipFile(tmp_path / "mnist.npz", "w", compression) as file:
            for name in names:
                file.writestr(name, b"")

        with pytest.raises(DataError, match=complaint):
            datasets.load(tmp_path / "mnist.npz")


@settings(deadline=None)
@given(data=st.data())
def test_an_npz_with_any_bytes_replaced_is_read_or_refused_in_a_short_line(tmp_path_factory, data):
    images, labels = np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.uint8)
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    np.savez_compressed(path, **dict(zip(KERAS, (images, labels) * 2, strict=True)))
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
