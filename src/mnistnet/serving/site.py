"""`mnistnet site -o DIR`: the page as files for any web server; the browser computes.

    write_site(DEFAULT_BUNDLE, Path("site"), runtime=Path("node_modules/onnxruntime-web"))

    index.html  offline.js  report.html  report.json  version-1f3a…/

The page is the service's, but for `ask.js`. What it is made of is in one folder, which is named by
its content and refers to nothing outside. So no browser ever mixes two versions, whatever it and
the server keep. `offline.js`, a service worker, stores that folder in the browser.
"""

from __future__ import annotations

import gzip
import io
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mnistnet.bundle.feature_maps import feature_maps_graph
from mnistnet.bundle.manifest import PAGE, manifest_sha256, read_file
from mnistnet.bundle.verify import verify
from mnistnet.bundle.weights import read_weights
from mnistnet.data.strokes import draw_lines
from mnistnet.errors import BundleError, UsageError
from mnistnet.files import entries, json_bytes, replace_folder, sha256, write_bytes
from mnistnet.inference.predictor import HYPOTHESES, NO_INK, SEVERAL
from mnistnet.report.contents import as_document
from mnistnet.serving.about import about
from mnistnet.serving.report_page import rendered_report
from mnistnet.serving.served import DIGEST_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnistnet.bundle.manifest import Manifest

# The page, and what the site has instead of the service's files of the same names, or besides.
SOURCES = (Path(__file__).parent / "page", Path(__file__).parent / "local")
REPORT, WORKER, FIRST = "report.json", "offline.js", "index.html"
VERSION = re.compile("version-[0-9a-f]{12}")
# Nothing is loaded from elsewhere or sent, and WebAssembly may be compiled.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self';"
    " connect-src 'self'; style-src 'self'; img-src 'self' blob: data:; manifest-src 'self';"
    " base-uri 'self'; form-action 'none'"
)
# As icon.svg: a white seven on a square with round corners.
ICON_SIDE, ICON_CORNER, ICON_PEN, ICON_COLOUR = 64, 14, 6, (0x1F, 0x4E, 0x8C)
ICON_STROKES = (((19, 18), (46, 18), (30, 49)), ((24, 34), (42, 34)))


@dataclass(frozen=True)
class Facts:
    """The content of `site.json`: what the browser needs to predict as `Predictor` does."""

    threshold: float  # the confidence, 0–1, below which an answer is not sure
    hypotheses: tuple[str, ...]
    no_ink: str  # the reasons for which there is no digit, or none to be sure of
    several: str
    load_bytes: int  # of what is loaded before the first prediction


@dataclass(frozen=True)
class Site:
    """What was written."""

    version: str  # the name of the page's folder
    load_bytes: int  # of what is loaded before the first prediction
    total_bytes: int


def write_site(bundle: Path, folder: Path, *, runtime: Path, report: Path | None = None) -> Site:
    """Write the page with a bundle's model as a static site.

    Args:
        bundle: is verified first.
        folder: a site that lies there is replaced.
        runtime: the package onnxruntime-web, as npm installs it.
        report: a folder with report.json and report.html, as `evaluate` writes them, for the page
            to link to; by default these are of the bundle's report.

    Raises:
        BundleError: the bundle fails verification, or is of format 1.
        UsageError: the runtime or the report is not there.
        FileError: something else lies in the folder, or it cannot be written.
    """
    manifest = verify(bundle)
    if manifest.format_version == 1:
        raise BundleError(f"{bundle}: is of format 1, which the page cannot ask; export it again")
    if report:
        top = {name: _read(report / name, "mnistnet eval -o writes it") for name in (REPORT, PAGE)}
    else:
        top = {REPORT: read_file(bundle, REPORT, manifest), PAGE: rendered_report(bundle)}
    files = _runtime(runtime) | _model(bundle, manifest) | _page()
    load_bytes = len(files["onnxruntime.bin"]) + len(files["picture.onnx"])
    facts = Facts(manifest.threshold, HYPOTHESES, NO_INK, SEVERAL, load_bytes)
    files["site.json"] = json_bytes(asdict(facts))
    version = _version(files)
    files[FIRST] = top[FIRST] = files[FIRST].replace(b"VERSION", version.encode())
    names = f'const VERSION = "{version}", FILES = {sorted(files.keys() - {WORKER})};\n'
    top[WORKER] = names.encode() + files.pop(WORKER)
    old = {entry.name for entry in entries(folder)} if folder.is_dir() else set()
    with replace_folder(folder, {*filter(VERSION.fullmatch, old), *top}) as scratch:
        for place, contents in ((scratch, top), (scratch / version, files)):
            for name, content in contents.items():
                write_bytes(place / name, content)
    return Site(version, load_bytes, sum(map(len, [*top.values(), *files.values()])))


def _page() -> dict[str, bytes]:
    """Return the page's own files, by name; index.html lies above a folder VERSION of them."""
    files = {file.name: file.read_bytes() for source in SOURCES for file in source.iterdir()}
    head = (
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<base href="VERSION/">',
        '<link rel="manifest" href="site.webmanifest">',
    )
    files[FIRST] = files[FIRST].replace(head[0].encode(), "\n  ".join(head).encode())
    files |= {f"icon-{side}.png": _icon(side) for side in (192, 512)}
    return files | {"icon-maskable.png": _icon(512, corner=0)}


def _runtime(package: Path) -> dict[str, bytes]:
    """Return the files of ONNX Runtime for WebAssembly alone, which make no further requests."""
    module, binary = (
        _read(package / "dist" / name, "npm ci --ignore-scripts installs it")
        for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
    )
    # Packed here, as not every server packs it; and so the page knows how much it loads.
    return {"onnxruntime.js": module, "onnxruntime.bin": gzip.compress(binary, mtime=0)}


def _model(bundle: Path, manifest: Manifest) -> dict[str, bytes]:
    digest = manifest_sha256(bundle)
    known = replace(about(bundle, digest[:DIGEST_CHARACTERS]), report=f"../{PAGE}")
    return {
        "picture.onnx": read_file(bundle, "picture.onnx", manifest),
        "feature_maps.onnx": feature_maps_graph(read_weights(bundle, manifest)),
        "about.json": json_bytes(as_document(known)),
    }


def _version(files: Mapping[str, bytes]) -> str:
    digests = (f"{name} {sha256(content)}\n" for name, content in sorted(files.items()))
    return f"version-{sha256(''.join(digests).encode())[:12]}"


def _read(path: Path, what_to_do: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); {what_to_do}") from error


def _icon(side: int, corner: float = ICON_CORNER) -> bytes:
    """Draw the icon, side × side pixels, as PNG; `corner` is a radius in units of ICON_SIDE."""
    scale = side / ICON_SIDE
    strokes = [np.array(stroke) * scale - 0.5 for stroke in ICON_STROKES]
    ink = draw_lines(strokes, (side, side), ICON_PEN * scale / 2)[..., None]
    # The distance of pixels from the straight middle of the sides, where they have corners.
    beyond = np.abs(np.arange(side) + 0.5 - side / 2) - side / 2 + corner * scale
    distance = np.hypot(*np.meshgrid(beyond.clip(0), beyond.clip(0)))
    opacity = (corner * scale - distance + 0.5).clip(0, 1) if corner else np.ones((side, side))
    pixels = np.dstack([255 * ink + (1 - ink) * ICON_COLOUR, 255 * opacity])
    file = io.BytesIO()
    Image.fromarray(np.round(pixels).astype(np.uint8)).save(file, "PNG", optimize=True)
    return file.getvalue()
