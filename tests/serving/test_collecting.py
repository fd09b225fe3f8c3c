"""Pictures that were misread are kept on the server: as pixels alone, and not without limit."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from drawing import encoded
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mnistnet.errors import FileError
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.serving.collecting import MAX_SIDE, Collection, CollectionFullError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from httpx import Response

    from conftest import Client

    Collecting = Callable[[Collection], Client]


def png(grey: int, side: int = 28, **options: Any) -> bytes:
    """Return a picture of one grey level."""
    return encoded(Image.new("L", (side, side), grey), "PNG", **options)


def kept(folder: Path) -> list[Path]:
    """List the pictures in a collection."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def send(collecting: Collecting, tmp_path: Path) -> Callable[..., Response]:
    """Send a picture to a service that collects in `tmp_path / "misread"`."""
    client = collecting(Collection(tmp_path / "misread"))

    def send(content: bytes, digit: object = 7, kind: str = "image/png") -> Response:
        return client.post(f"/collect/{digit}", content=content, headers={"Content-Type": kind})

    return send


@pytest.mark.slow
def test_what_is_collected_is_what_eval_reads(
    send: Callable[..., Response], images: np.ndarray, labels: np.ndarray, run: Any, tmp_path: Path
) -> None:
    for image, label in zip(images[:5], labels[:5], strict=True):
        assert send(encoded(Image.fromarray(image), "PNG"), label).status_code == 204
    done = run("eval", DEFAULT_BUNDLE, "--data", tmp_path / "misread", "-o", tmp_path / "report")
    assert done.code == 0
    assert "n = 5)" in done.out


def test_only_the_pixels_are_kept(send: Callable[..., Response], tmp_path: Path) -> None:
    notes = PngInfo()
    notes.add_text("Comment", "<script>alert(1)</script>")
    assert send(png(9, pnginfo=notes) + b"<?php evil() ?>").status_code == 204
    (file,) = kept(tmp_path / "misread")
    assert file.parent.name == "7"
    assert b"script" not in file.read_bytes()
    assert b"php" not in file.read_bytes()
    with Image.open(file) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture)[..., :3].tolist() == np.full((28, 28, 3), 9).tolist()


def test_a_large_picture_is_made_smaller(tmp_path: Path) -> None:
    Collection(tmp_path).add(0, png(9, side=2 * MAX_SIDE))
    (file,) = kept(tmp_path)
    with Image.open(io.BytesIO(file.read_bytes())) as picture:
        assert picture.size == (MAX_SIDE, MAX_SIDE)


def test_the_same_picture_is_kept_once(tmp_path: Path) -> None:
    collection = Collection(tmp_path, max_pictures=1)
    collection.add(3, png(9))
    collection.add(3, png(9))
    assert len(kept(tmp_path)) == 1


def test_there_is_a_limit_which_counts_what_was_there_before(tmp_path: Path) -> None:
    size = 0
    for grey in range(2):
        Collection(tmp_path, max_pictures=2).add(grey, png(grey))
        size += kept(tmp_path)[-1].stat().st_size
    for limits in ({"max_pictures": 2}, {"max_bytes": size + 10}):
        with pytest.raises(CollectionFullError, match="full"):
            Collection(tmp_path, **limits).add(9, png(200))
    assert len(kept(tmp_path)) == 2


def test_a_full_collection_is_said(collecting: Collecting, tmp_path: Path) -> None:
    client = collecting(Collection(tmp_path, max_pictures=0))
    done = client.post("/collect/1", content=png(1), headers={"Content-Type": "image/png"})
    assert done.status_code == 507
    assert done.json() == {"error": "the collection is full; its owner may empty it"}


@pytest.mark.parametrize(
    ("content", "digit", "kind", "status"),
    [
        (b"GIF89a, or not", 7, "image/png", 400),
        (b"", 7, "image/png", 400),
        (png(1), 10, "image/png", 422),
        (png(1), "../7", "image/png", 404),
        (png(1), 7, "text/plain", 415),  # what a form of another site may send
    ],
)
def test_what_is_no_picture_of_a_digit_is_refused(
    send: Callable[..., Response],
    tmp_path: Path,
    content: bytes,
    digit: object,
    kind: str,
    status: int,
) -> None:
    assert send(content, digit, kind).status_code == status
    assert kept(tmp_path) == []


def test_a_service_that_was_not_asked_to_collects_nothing(client: Client) -> None:
    done = client.post("/collect/7", content=png(1), headers={"Content-Type": "image/png"})
    assert done.status_code == 404


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot collect pictures"):
        Collection(tmp_path / "file" / "misread")
