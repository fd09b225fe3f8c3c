"""The static site's files: whole, of one version, and written only of what was checked."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mnistnet.inference.predictor import DEFAULT_BUNDLE, HYPOTHESES, Predictor
from mnistnet.serving.site import write_site

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What npm installs, but for its content, which only a browser needs."""
    dist = tmp_path_factory.mktemp("npm") / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    (dist / "ort.wasm.bundle.min.mjs").write_text("export const InferenceSession = null;")
    (dist / "ort-wasm-simd-threaded.wasm").write_bytes(b"\0asm" + bytes(5000))
    return dist.parent


@pytest.fixture(scope="module")
def site(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "site"
    write_site(DEFAULT_BUNDLE, folder, runtime=runtime)
    return folder


def version_of(site: Path) -> Path:
    (version,) = (entry for entry in site.iterdir() if entry.is_dir())
    return version


def test_every_file_that_another_names_is_in_the_folder_of_the_version(site: Path) -> None:
    version = version_of(site)
    files = {file.name for file in version.iterdir()}
    named = set()
    for file in version.glob("*.js"):
        if file.name != "onnxruntime.js":
            named |= set(
                re.findall(r'(?:from |URL\(|download\()"\.?/?([\w.-]+)"', file.read_text())
            )
    named |= set(re.findall(r'(?:href|src)="([\w.-]+)"', (version / "index.html").read_text()))
    icons = json.loads((version / "site.webmanifest").read_text())["icons"]
    named |= {icon["src"] for icon in icons}
    assert {"main.js", "style.css", "reader.js", "site.json", "icon-512.png"} <= named <= files
    assert json.loads((version / "about.json").read_text())["report"] == "../report.html"
    assert {entry.name for entry in site.iterdir()} == {
        *("index.html", "offline.js", "report.html", "report.json", version.name)
    }


def test_the_service_worker_names_the_version_and_all_files_in_it(site: Path) -> None:
    version = version_of(site)
    first = (site / "offline.js").read_text().splitlines()[0]
    name, names = re.fullmatch(r'const VERSION = "(.*)", FILES = (\[.*\]);', first).groups()
    assert name == version.name
    assert json.loads(names.replace("'", '"')) == sorted(file.name for file in version.iterdir())


def test_the_page_loads_nothing_from_elsewhere_and_its_policy_forbids_it(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert f'<base href="{version_of(site).name}/">' in page
    policy = re.search('Content-Security-Policy" content="(.*)"', page)[1]
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval';" in policy
    assert "http" not in policy
    assert "unsafe-inline" not in policy
    for file in version_of(site).iterdir():
        if file.suffix in (".html", ".js", ".css", ".json") and file.name != "onnxruntime.js":
            assert not re.search(r"(https?:)?//[a-z]+\.", file.read_text()), file


def test_the_same_bundle_gives_the_same_bytes_and_another_page_another_version(
    site: Path, runtime: Path, bundle: Path, tmp_path: Path
) -> None:
    write_site(bundle, tmp_path / "again", runtime=runtime)
    for file in site.rglob("*.*"):
        if file.is_file():
            assert (tmp_path / "again" / file.relative_to(site)).read_bytes() == file.read_bytes()
    newer = shutil.copytree(runtime, tmp_path / "newer")
    (newer / "dist" / "ort.wasm.bundle.min.mjs").write_text("export const InferenceSession = 1;")
    write_site(bundle, tmp_path / "again", runtime=newer)
    assert version_of(tmp_path / "again").name != version_of(site).name


def test_the_browser_knows_what_the_predictor_knows(site: Path) -> None:
    facts = json.loads((version_of(site) / "site.json").read_text())
    assert facts["threshold"] == Predictor().threshold
    assert facts["hypotheses"] == list(HYPOTHESES)
    blank = Predictor().predict(np.full((30, 30), 255, np.uint8))
    assert facts["no_ink"] == blank.reason
    sizes = [
        (version_of(site) / name).stat().st_size for name in ("onnxruntime.bin", "picture.onnx")
    ]
    assert facts["load_bytes"] == sum(sizes)


def test_the_gallery_is_of_the_images_that_the_shipped_network_misreads_most_surely(
    site: Path,
) -> None:
    report = json.loads((DEFAULT_BUNDLE / "report.json").read_text())
    about = json.loads((version_of(site) / "about.json").read_text())
    assert [digit["pixels"] for digit in about["hardest"]] == [
        m["pixels"] for m in report["mistakes"]
    ]
    assert len(about["hardest"]) >= 20


def test_icons_are_whole_and_a_mask_cuts_nothing_off(site: Path) -> None:
    for icon in json.loads((version_of(site) / "site.webmanifest").read_text())["icons"]:
        content = (version_of(site) / icon["src"]).read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            assert f"{picture.width}x{picture.height}" == icon["sizes"]
            pixels = np.asarray(picture).astype(int)
        side = len(pixels)
        rows, columns = np.nonzero(pixels[..., 0] > 200)
        distance = np.hypot(rows + 0.5 - side / 2, columns + 0.5 - side / 2)
        assert 0.3 * side < distance.max() < 0.4 * side  # what every mask leaves
        assert pixels[0, 0, 3] == (255 if icon.get("purpose") == "maskable" else 0)


def test_the_report_of_an_evaluation_takes_its_place_next_to_the_page(
    runtime: Path, tmp_path: Path, run: Callable[..., object]
) -> None:
    report = tmp_path / "report"
    report.mkdir()
    for name in ("report.html", "report.json"):
        (report / name).write_text(name)
    words = ("site", "-o", tmp_path / "site", "--runtime", runtime, "--report", report)
    assert run(*words).code == 0
    assert (tmp_path / "site" / "report.html").read_text() == "report.html"
    assert version_of(tmp_path / "site")
    done = run(*words)  # over itself
    assert done.code == 0
    assert re.fullmatch(r"Site: .*, version-[0-9a-f]{12} \(.*; a browser loads .*\)\n", done.out)


def test_what_is_missing_or_damaged_is_said_in_a_line_and_nothing_is_written(
    runtime: Path, bundle: Path, tmp_path: Path, run: Callable[..., object]
) -> None:
    out = tmp_path / "site"
    done = run("site", "-o", out, "--runtime", tmp_path / "none")
    assert done.code == 2
    assert "npm ci --ignore-scripts installs it" in done.err
    done = run("site", "-o", out, "--runtime", runtime, "--report", tmp_path)
    assert done.code == 2
    assert "mnistnet eval -o writes it" in done.err
    (bundle / "picture.onnx").write_bytes(b"other")
    assert run("site", "-o", out, "--runtime", runtime, "--bundle", bundle).code == 2
    assert not out.exists()
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    done = run("site", "-o", out, "--runtime", runtime)
    assert done.code == 2
    assert "holds thesis.tex, so it is not replaced" in done.err


def test_a_bundles_own_page_which_nobody_checked_is_not_published(
    runtime: Path, bundle: Path, tmp_path: Path
) -> None:
    (bundle / "report.html").write_text("<script>alert(1)</script>")
    write_site(bundle, tmp_path / "site", runtime=runtime)
    assert "<script" not in (tmp_path / "site" / "report.html").read_text()


def test_what_comes_from_npm_is_pinned_to_one_version_and_its_hash() -> None:
    package, lock = (json.loads((ROOT / f"package{x}.json").read_text()) for x in ("", "-lock"))
    assert list(package["dependencies"]) == ["onnxruntime-web"]
    own, *others = lock["packages"].values()
    assert own["dependencies"] == package["dependencies"]
    assert all(other["integrity"].startswith("sha512-") for other in others)
    version = package["dependencies"]["onnxruntime-web"]
    assert lock["packages"]["node_modules/onnxruntime-web"]["version"] == version
