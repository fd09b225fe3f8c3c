"""A manifest may come from anywhere: whatever it holds, the answer is yes or one clear line."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistnet.bundle.manifest import FILES, parse_manifest, read_manifest
from mnistnet.bundle.vectors import parse_vectors
from mnistnet.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

GOOD: dict[str, Any] = {
    "format_version": 1,
    "threshold": 0,
    "metrics": {},
    "recipe": {},
    "data": {"train-images-idx3-ubyte": "ab" * 32},
    "source": {"commit": None, "dirty": False},
    "environment": {"threads": 2, "precision": "float32"},
    "versions": {"torch": "2.13.0"},
    "files": {name: {"size_bytes": 1, "sha256": "cd" * 32} for name in FILES},
}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def changed(path: tuple[str, ...], value: object) -> bytes:
    """Give a good manifest with one thing in it replaced."""
    document = copy.deepcopy(GOOD)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(document).encode()


def paths(document: dict[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, value in document.items():
        found.append((key,))
        if isinstance(value, dict):
            found += [(key, *rest) for rest in paths(value)]
    return found


def test_the_good_one_is_good() -> None:
    assert parse_manifest(json.dumps(GOOD).encode(), "here").threshold == 0


def test_fields_of_later_versions_are_ignored() -> None:
    parse_manifest(changed(("comment",), "hello"), "here")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format_version",), True, "format_version"),
        (("format_version",), "1", "format_version"),
        (("format_version",), 0, "format version 0"),
        (("threshold",), 1.5, "threshold is not between"),
        (("threshold",), -1, "threshold is not between"),
        (("threshold",), True, "threshold"),
        (("recipe",), [], "recipe"),
        (("data", "x"), "AB" * 32, "SHA-256"),
        (("source",), {"dirty": False}, "commit"),
        (("source", "dirty"), None, "dirty"),
        (("environment", "threads"), 1.5, "threads"),
        (("versions", "torch"), 2, "torch"),
        (("files", "../../etc/passwd"), {"size_bytes": 1, "sha256": "cd" * 32}, "exactly"),
        (("files", "digit.onnx"), None, "digit.onnx"),
        (("files", "digit.onnx", "size_bytes"), -1, "between 0 and 1,000,000"),
        (("files", "digit.onnx", "size_bytes"), 999_999, "between 0 and 1,000,000"),
        (("files", "digit.onnx", "size_bytes"), 10**30, "between 0 and 1,000,000"),
        (("files", "digit.onnx", "size_bytes"), 1.0, "size_bytes"),
        (("files", "digit.onnx", "sha256"), "cd", "SHA-256"),
        (("files", "digit.onnx", "sha256"), "cd" * 32 + "\n", "SHA-256"),
    ],
)
def test_a_wrong_field_is_named(path: tuple[str, ...], value: object, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        parse_manifest(changed(path, value), "here")


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(BundleError, match=f"no '{name}'"):
        parse_manifest(json.dumps({k: v for k, v in GOOD.items() if k != name}).encode(), "here")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"metrics": ' + b"9" * 60_000 + b"}",
        json.dumps(GOOD).replace('"metrics": {}', '"metrics": {"a": NaN}').encode(),
        json.dumps(GOOD).replace('"metrics": {}', '"metrics": {"a": 1e999}').encode(),
    ],
    ids=["empty", "null", "list", "not text", "deep", "long number", "NaN", "infinite"],
)
def test_what_is_no_manifest_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"here: .*; ") as caught:
        parse_manifest(content, "here")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(path=st.sampled_from(paths(GOOD)), value=ANY_JSON)
def test_anything_anywhere_is_taken_or_refused(path: tuple[str, ...], value: object) -> None:
    message = ""
    try:
        parse_manifest(changed(path, value), "here")
    except BundleError as error:
        message = str(error)
    assert "\n" not in message


@given(content=st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_vectors_of_any_content_are_taken_or_refused(content: bytes) -> None:
    with pytest.raises(BundleError):
        parse_vectors(content, "here")


@given(
    shape=st.lists(st.integers(-3, 10**12) | st.floats() | st.none(), max_size=4),
    picture=st.text() | st.sampled_from(["", "AAAA", "AAA", "AA==", "é"]),
    probabilities=st.lists(st.floats() | st.integers() | st.none(), max_size=11),
)
def test_vectors_of_any_shape_are_taken_or_refused(
    shape: list[object], picture: str, probabilities: list[object]
) -> None:
    document = {
        "images": [{"image": picture, "probabilities": probabilities}],
        "pictures": [{"shape": shape, "picture": picture, "seen": picture, "ink": True}],
    }
    with pytest.raises(BundleError):
        parse_vectors(json.dumps(document).encode(), "here")


BLANK = "A" * 1044 + "AA=="  # 784 zero bytes


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        ("images", "image", BLANK[4:], "28 × 28 pixels"),
        ("images", "image", "*" + BLANK, "28 × 28 pixels"),
        ("images", "probabilities", [0.1] * 9, "ten numbers"),
        ("images", "probabilities", [*[0.1] * 9, True], "ten numbers"),
        ("pictures", "shape", [28], "height, width"),
        ("pictures", "shape", [-1, 28], "height, width"),
        ("pictures", "shape", [28, 28.0], "height, width"),
        ("pictures", "shape", [28, 29], "28 × 29 pixels"),
        ("pictures", "ink", 1, "ink"),
    ],
)
def test_a_wrong_vector_is_refused(part: str, name: str, value: object, words: str) -> None:
    document: dict[str, list[dict[str, Any]]] = {
        "images": [{"image": BLANK, "probabilities": [0.1] * 10}],
        "pictures": [{"shape": [28, 28], "picture": BLANK, "seen": BLANK, "ink": False}],
    }
    parse_vectors(json.dumps(document).encode(), "here")
    document[part][0][name] = value
    with pytest.raises(BundleError, match=words):
        parse_vectors(json.dumps(document).encode(), "here")


def test_a_manifest_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(1 << 30)  # no disk is used for it
    with pytest.raises(BundleError, match="larger than 65,536 bytes"):
        read_manifest(tmp_path)
