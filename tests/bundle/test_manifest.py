"""A manifest may come from anywhere: whatever is in it, it is read or refused in one line."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistnet.bundle.manifest import FILES, INPUTS, parse_manifest, read_manifest
from mnistnet.bundle.vectors import parse_vectors
from mnistnet.errors import BundleError

GOOD: dict[str, Any] = {
    "format_version": 2,
    "threshold": 0,
    "metrics": {},
    "recipe": {},
    "data": {"train-images-idx3-ubyte": "ab" * 32},
    "source": {"commit": None, "dirty": False},
    "environment": {"threads": 2, "precision": "float32"},
    "versions": {"torch": "2.13.0"},
    "files": {name: {"size_bytes": 1, "sha256": "cd" * 32} for name in FILES},
}
SOURCE = {"commit": "ab" * 20, "dirty": False}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def changed(path: tuple[str, ...], value: object) -> bytes:
    """Return a good manifest with one value replaced."""
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


def test_a_good_manifest_is_read_and_fields_of_later_versions_are_ignored() -> None:
    assert parse_manifest(changed(("comment",), "hello"), "here").threshold == 0


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format_version",), True, "format_version"),
        (("format_version",), 0, "format version 0"),
        (("threshold",), 1.5, "threshold is not between"),
        (("threshold",), -1, "threshold is not between"),
        (("recipe",), [], "recipe"),
        (("metrics",), {"accuracy": 1.0}, "no 'judged_on'"),
        (("data", "x"), "AB" * 32, "SHA-256"),
        (("source",), {"dirty": False}, "commit"),
        (("source", "dirty"), None, "dirty"),
        (("files", "../../etc/passwd"), {"size_bytes": 1, "sha256": "cd" * 32}, "exactly"),
        (("inputs",), None, "no 'inputs' of the right type"),
        (("inputs",), {"all": "ab" * 32}, "right type|SHA-256"),
        (("inputs",), dict.fromkeys(INPUTS, "x"), "SHA-256"),
        (("earlier",), None, "no 'earlier' of the right type"),
        (("earlier",), [], "no 'earlier' of the right type"),
        (("earlier",), {"1": {"source": {}, "versions": {}, "inputs": {}}}, "commit"),
        (("earlier",), {"1": {"source": SOURCE, "versions": {}}}, "no 'inputs'"),
        (("earlier",), {"1": {"source": SOURCE, "versions": [], "inputs": {}}}, "versions"),
        (("earlier",), {"1": {"source": SOURCE, "versions": {}, "inputs": {"a": "b"}}}, "SHA-256"),
        (("recipe", "name"), "\ud800", "not printable"),
        (("recipe", "name"), "a\u202eb", "not printable"),
        (("recipe", "two\nlines"), 1, "not printable"),
        (("recipe", "name"), "a" * 257, "too long"),
        (("comments",), [["\x07"]], "not printable"),
        (("files", "digit.onnx", "size_bytes"), -1, "between 0 and 1,000,000"),
        (("files", "digit.onnx", "size_bytes"), 999_999, "between 0 and 1,000,000"),
        (("files", "digit.onnx", "sha256"), "cd" * 32 + "e", "SHA-256"),
    ],
)
def test_a_wrong_field_is_named(path: tuple[str, ...], value: object, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        parse_manifest(changed(path, value), "here")


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(BundleError, match=f"no '{name}'"):
        parse_manifest(json.dumps({k: v for k, v in GOOD.items() if k != name}).encode(), "here")


TEXT = json.dumps(GOOD)
NO_MANIFEST = {
    "empty": b"",
    "list": b"[]",
    "deep": b"[" * 60_000,
    "800 deep": TEXT.replace("{}", '{"a": ' * 800 + "1" + "}" * 800, 1).encode(),
    "long number": b'{"metrics": ' + b"9" * 60_000 + b"}",
    "byte-order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "not UTF-8": TEXT.encode().replace(b"2.13.0", b"2.13.\xff"),
    "field twice": TEXT.replace('"metrics": {}', '"metrics": {}, "metrics": {}').encode(),
    "NaN": TEXT.replace('"metrics": {}', '"metrics": {"a": NaN}').encode(),
    "infinite": TEXT.replace('"metrics": {}', '"metrics": {"a": 1e999}').encode(),
}


@pytest.mark.parametrize("kind", NO_MANIFEST)
def test_what_is_no_manifest_is_refused_in_one_line(kind: str) -> None:
    with pytest.raises(BundleError, match=r"here: .*; ") as caught:
        parse_manifest(NO_MANIFEST[kind], "here")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(path=st.sampled_from(paths(GOOD)), value=ANY_JSON)
def test_any_value_anywhere_is_read_or_refused_in_one_line(
    path: tuple[str, ...], value: object
) -> None:
    try:
        parse_manifest(changed(path, value), "here")
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017


BLANK = "A" * 1044 + "AA=="  # 784 zero bytes


def vectors(part: str = "images", name: str = "image", value: object = BLANK) -> bytes:
    """Return good vectors with one value replaced; without a name, with an empty part."""
    document: dict[str, list[dict[str, Any]]] = {
        "images": [{"image": BLANK, "probabilities": [0.1] * 10}],
        "pictures": [{"shape": [28, 28], "picture": BLANK, "seen": BLANK, "ink": False}],
    }
    document[part] = [document[part][0] | {name: value}] if name else []
    return json.dumps(document).encode()


@given(
    part=st.sampled_from(["images", "pictures"]),
    name=st.sampled_from(["image", "probabilities", "shape", "picture", "seen", "ink"]),
    value=ANY_JSON | st.lists(st.integers(-3, 10**12) | st.floats(), max_size=11),
)
def test_vectors_with_any_value_are_read_or_refused(part: str, name: str, value: object) -> None:
    with contextlib.suppress(BundleError):
        parse_vectors(vectors(part, name, value), "here")


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        ("images", "image", "*" + BLANK, "Only base64"),
        ("images", "probabilities", [0.1] * 9, "not ten"),
        ("images", "probabilities", [*[0.1] * 9, True], "right type"),
        ("pictures", "shape", [-28, -28], "not of the shape"),
        ("pictures", "shape", [28, 29], "not of the shape"),
        ("pictures", "ink", 1, "ink"),
        ("pictures", "", None, "holds no vectors"),
    ],
)
def test_a_wrong_vector_is_refused(part: str, name: str, value: object, words: str) -> None:
    parse_vectors(vectors(), "here")
    with pytest.raises(BundleError, match=words):
        parse_vectors(vectors(part, name, value), "here")


def test_a_manifest_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(1 << 30)  # no disk is used for it
    with pytest.raises(BundleError, match="larger than 65,536 bytes"):
        read_manifest(tmp_path)
