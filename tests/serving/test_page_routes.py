"""The page's files, and what it asks for besides predictions."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnistnet.bundle.manifest import MANIFEST, Fingerprint, read_manifest
from mnistnet.errors import BundleError
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.metrics.robustness import CorruptionError, Robustness
from mnistnet.metrics.timing import Spread
from mnistnet.report.contents import Comparison, Report, Speed, as_document
from mnistnet.serving.about import about
from mnistnet.serving.page_routes import PAGE
from mnistnet.serving.report_page import from_document, report_page

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Client

MAX_PAGE_BYTES = 60_000
SHIPPED = json.loads((DEFAULT_BUNDLE / "report.json").read_bytes())


def change_report(bundle: Path, change: Callable[[dict], object]) -> Path:
    """Change a bundle's report, and the manifest with it."""
    document = json.loads((bundle / "report.json").read_bytes())
    change(document)
    content = json.dumps(document).encode()
    (bundle / "report.json").write_bytes(content)
    manifest = read_manifest(bundle)
    files = manifest.files | {"report.json": Fingerprint.of(content)}
    (bundle / MANIFEST).write_bytes(replace(manifest, files=files).to_bytes())
    return bundle


@pytest.mark.parametrize("file", sorted(PAGE.iterdir()), ids=lambda file: file.name)
def test_every_file_of_the_page_is_there_under_a_strict_policy(client: Client, file: Path) -> None:
    answer = client.get(f"/{file.name}")
    assert answer.content == file.read_bytes()
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
    assert answer.headers["Content-Type"].startswith(kinds.get(file.suffix, ""))


def test_the_page_is_small_and_the_first_thing_that_is_seen(client: Client) -> None:
    assert client.get("/").content == (PAGE / "index.html").read_bytes()
    assert sum(file.stat().st_size for file in PAGE.iterdir()) < MAX_PAGE_BYTES


def test_the_page_knows_the_figures_of_the_model(client: Client) -> None:
    known = client.get("/about.json").json()
    assert known["version"] == "v7"
    assert known["metrics"]["accuracy"] == SHIPPED["accuracy"]["value"]
    assert known["metrics"]["n"] == SHIPPED["accuracy"]["n"]
    assert known["threshold"] == read_manifest(DEFAULT_BUNDLE).threshold
    assert known["collects"] is False
    assert [hard["pixels"] for hard in known["hardest"]] == [
        mistake["pixels"] for mistake in SHIPPED["mistakes"]
    ]


def test_the_report_that_it_links_to_is_a_page(client: Client) -> None:
    answer = client.get(f"/{client.get('/about.json').json()['report']}")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "99.42%" in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("sandbox;")


def test_a_report_is_the_same_after_it_was_json() -> None:
    report = from_document(Report, SHIPPED)
    error = CorruptionError(3, 0.3, 0.1, 0.6)
    everything = replace(
        report,
        against=Comparison(
            *(report.model, report.accuracy, "worse", 0.04, -0.1, -0.2, 0.0, 1, 2),
            *(report.mistakes[:1], report.mistakes[1:3]),
        ),
        robustness={"network": Robustness(0, 10, 0.1, 0.3, {"fog": error})},
        corrupted={"fog": bytes(784)},
        speed=Speed(Spread(1.0, 0.5, 2.0, 5), Spread(3.0, 2.5, 4.0, 5), "ONNX Runtime"),
    )
    for made in (report, everything):
        assert from_document(Report, json.loads(json.dumps(as_document(made)))) == made


def test_a_bundle_s_own_page_is_shown_where_it_has_one(bundle: Path) -> None:
    (bundle / "report.html").write_text("<h1>Measured</h1>")
    assert report_page(bundle) == b"<h1>Measured</h1>"


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.pop("accuracy"),
        lambda report: report.update(accuracy=[1, 2]),
        lambda report: report["mistakes"][0].update(pixels="not base64"),
        lambda report: report.update(classes=3),
    ],
)
def test_a_damaged_report_is_one_line(bundle: Path, change: Callable[[dict], object]) -> None:
    with pytest.raises(BundleError, match=r"report\.json: is no report"):
        report_page(change_report(bundle, change))


@pytest.mark.parametrize(
    "change",
    [{"pixels": "AAAA"}, {"pixels": "?"}, {"label": 10}, {"label": "<b>"}, {"is_label_error": 1}],
)
def test_a_hard_digit_that_is_none_is_one_line(bundle: Path, change: dict) -> None:
    change_report(bundle, lambda report: report["mistakes"][0].update(change))
    with pytest.raises(BundleError, match=r"report\.json: "):
        about(bundle, "v1")


def test_the_maps_are_those_of_each_layer(
    client: Client, images: np.ndarray, labels: np.ndarray
) -> None:
    layers = client.post("/maps", content=images[0].tobytes()).json()
    assert [layer["shape"] for layer in layers][::7] == [[8, 26, 26], [10, 1, 1]]
    values = [np.frombuffer(b64decode(layer["values"]), "<f4") for layer in layers]
    assert [len(found) for found in values] == [np.prod(layer["shape"]) for layer in layers]
    assert values[-1].argmax() == labels[0]
    assert values[-1].sum() == pytest.approx(1, abs=1e-5)


def test_maps_of_what_is_no_image_are_refused(client: Client) -> None:
    answer = client.post("/maps", content=bytes(785))
    assert answer.status_code == 400
    assert answer.json() == {"error": "the body is of 785 bytes; send 784 grey levels"}
