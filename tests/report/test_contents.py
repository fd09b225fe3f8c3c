"""The report as JSON: fields by their names, six digits, pixels in base64."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

from mnistnet.report.contents import to_json


def test_fields_have_their_names_and_pixels_are_in_base64(report, images) -> None:
    document = json.loads(to_json(report))
    assert document["format"] == 2
    assert document["accuracy"]["correct"] == report.accuracy.correct
    assert document["model"]["origin"]["recipe"]["epochs"] == 30
    assert document["not_digits"][1]["refused"] == 1
    assert document["classes"][3]["digit"] == 3
    assert document["accuracy"]["low"] == float(f"{report.accuracy.low:.6g}")
    first = document["mistakes"][0]
    assert base64.b64decode(first["pixels"]) == images[first["index"]].tobytes()


def test_a_full_report_fits_into_a_bundle(report) -> None:
    assert len(to_json(report)) < 250_000


def test_half_a_character_in_a_file_name_can_be_written(report) -> None:
    lone = replace(report, undecoded={"a\udcff.png": "b\udcff"})
    assert json.loads(to_json(lone))["undecoded"] == {"a?.png": "b?"}
