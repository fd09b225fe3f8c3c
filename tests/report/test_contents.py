"""The report as JSON: written the same everywhere, read back, refused where it is damaged."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from mnistnet.errors import DataError
from mnistnet.report.contents import from_json, to_json


def test_reading_a_report_back_gives_the_same_bytes(report) -> None:
    content = to_json(report)
    again = from_json(content, "report.json")
    assert to_json(again) == content
    assert again.model == report.model
    assert again.against.gained[0].pixels == report.against.gained[0].pixels


def test_fields_have_their_names_and_pixels_are_in_base64(report, images) -> None:
    document = json.loads(to_json(report))
    assert document["format"] == 2
    assert document["accuracy"]["correct"] == report.accuracy.correct
    assert document["model"]["origin"]["recipe"]["epochs"] == 30
    assert document["not_digits"][1]["refused"] == 1
    first = document["mistakes"][0]
    assert base64.b64decode(first["pixels"]) == images[first["index"]].tobytes()


def test_parts_that_were_not_measured_are_left_out_but_a_zero_is_kept(report) -> None:
    bare = replace(report, speed=None, curves=(), robustness={}, corrupted=None)
    none_refused = tuple(replace(kind, refused=0) for kind in report.not_digits)
    document = json.loads(to_json(replace(bare, not_digits=none_refused)))
    assert not {"speed", "curves", "robustness", "corrupted"} & set(document)
    assert document["not_digits"][0]["refused"] == 0


def test_a_full_report_fits_into_a_bundle(report) -> None:
    assert len(to_json(report)) < 250_000


def test_half_a_character_in_a_file_name_can_be_written(report) -> None:
    lone = replace(report, unread=replace(report.unread, undecoded={"a\udcff.png": "b\udcff"}))
    assert json.loads(to_json(lone))["unread"]["undecoded"] == {"a?.png": "b?"}


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("accuracy"),
        lambda d: d.update(format=1),
        lambda d: d.update(format=True),
        lambda d: d.update(surprise=1),
        lambda d: d.update(confusion_matrix="x"),
        lambda d: d["accuracy"].update(n="200"),
        lambda d: d["accuracy"].update(n=None),
        lambda d: d["accuracy"].update(value=float("nan")),
        lambda d: d["accuracy"].update(value=10**400),
        lambda d: d["mistakes"][0].update(pixels="https://example.org/spy.png"),
        lambda d: d["mistakes"][0].update(pixels="AAAA"),
        lambda d: d["selective"].update(curve=[[0.5]]),
        lambda d: d["against"].update(verdict="perfect"),
        lambda d: d["against"].update(verdict=[]),
    ],
)
def test_a_damaged_report_is_refused_in_one_line(change, report) -> None:
    document = json.loads(to_json(report))
    change(document)
    with pytest.raises(DataError, match=r"^x: is .* evaluate again") as error:
        from_json(json.dumps(document).encode(), "x")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b"null"])
def test_what_is_no_report_is_refused(content) -> None:
    with pytest.raises(DataError, match=r"^x: is "):
        from_json(content, "x")
