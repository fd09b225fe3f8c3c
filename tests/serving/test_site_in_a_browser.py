"""The static site in a real browser: it reads as Python does, offline too, and sends nothing."""

from __future__ import annotations

import base64
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import drawing
import numpy as np
import pytest
from playwright.sync_api import expect
from site_server import SiteServer, serving, stop

from mnistnet.inference.decoding import to_rgba
from mnistnet.inference.predictor import DEFAULT_BUNDLE, Predictor
from mnistnet.serving.site import write_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from mnistnet.data import DataSet

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4  # of a probability
SEVEN = ((0.3, 0.25), (0.7, 0.25), (0.45, 0.8))
ONE = ((0.5, 0.2), (0.48, 0.8))
PATIENCE_MS = 60_000
SAVES_DATA = "Object.defineProperty(navigator.connection, 'saveData', { get: () => true })"
# Ask for predictions of pictures that lie in one file, each (width, height).
PREDICT = """async ([file, sizes]) => {
  const { load, predict } = await import(new URL("ask.js", document.baseURI));
  const pixels = await (await fetch(`../${file}`)).arrayBuffer();
  await load();
  let start = 0;
  const answers = [];
  for (const [width, height] of sizes) {
    const picture = new Uint8ClampedArray(pixels.slice(start, (start += 4 * width * height)));
    const answer = await predict(new ImageData(picture, width, height));
    answers.push({ ...answer, seen: null });
  }
  return answers;
}"""
# Run a graph of images (N, 28, 28), a hundred at a time; return its last output.
CLASSIFY = """async ([graph, n]) => {
  const ort = await import(new URL("onnxruntime.js", document.baseURI));
  const packed = (await fetch("onnxruntime.bin")).body;
  const binary = new Response(packed.pipeThrough(new DecompressionStream("gzip")));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await binary.arrayBuffer();
  const images = new Uint8Array(await (await fetch("../images")).arrayBuffer());
  const session = await ort.InferenceSession.create(graph);
  const answers = [];
  for (let i = 0; i < n; i += 100) {
    const batch = images.slice(784 * i, 784 * (i + 100));
    const input = new ort.Tensor("uint8", batch, [batch.length / 784, 28, 28]);
    const outputs = await session.run({ images: input });
    answers.push(...outputs[session.outputNames.at(-1)].data);
  }
  return answers;
}"""
# Keep the latest picture that the page sends to its worker.
RECORD = """{
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message) {
    if (message.name === "predict") self.latest = message.values;
    post.call(this, message);
  };
}"""
LATEST = """(() => {
  const [data, height, width] = self.latest;
  return [btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), "")), height, width];
})()"""


@pytest.fixture(scope="module")
def written(onnxruntime_web: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "site"
    write_site(DEFAULT_BUNDLE, folder, runtime=onnxruntime_web)
    return folder


@pytest.fixture
def server(written: Path, tmp_path: Path) -> Iterator[SiteServer]:
    """Serves a copy of the site."""
    with serving(shutil.copytree(written, tmp_path / "site")) as server:
        yield server


@pytest.fixture
def visit(
    browser: Browser, server: SiteServer, listen: Callable[[Page], None]
) -> Iterator[Callable[..., Page]]:
    """Open the site with a new profile.

    All that the browser asks of anybody goes through the server.
    """
    contexts = []

    def visit(script: str = "", **options: Any) -> Page:
        proxy = {"server": server.origin, "bypass": "<-loopback>"}
        contexts.append(browser.new_context(proxy=proxy, **options))
        page = contexts[-1].new_page()
        page.add_init_script(script)
        listen(page)
        page.goto(server.url)
        return page

    yield visit
    for context in contexts:
        context.close()


def draw(page: Page, points: tuple[tuple[float, float], ...]) -> None:
    """Draw a stroke by mouse; points are in shares of the sheet's side."""
    box = page.locator("#paper").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def read(page: Page, digit: int) -> None:
    """Wait until the page says that it reads a digit."""
    expect(page.locator("#digit")).to_have_text(str(digit), timeout=PATIENCE_MS)


def version_of(page: Page) -> str:
    return str(page.evaluate("document.baseURI")).split("/")[-2]


def wait_until_kept(page: Page, version: str) -> None:
    """Wait until the browser keeps a version, whole."""
    page.evaluate(
        """async (file) => {
          await navigator.serviceWorker.ready;
          while (!(await caches.match(file))) await new Promise((done) => setTimeout(done, 20));
        }""",
        f"{page.url}{version}/index.html",
    )


def kept(page: Page) -> list[str]:
    """Return the versions that the browser keeps."""
    return [name.split()[-1] for name in page.evaluate("caches.keys()")]


def test_a_drawing_is_read_on_the_device_and_nothing_but_the_sites_files_is_asked_for(
    visit: Callable[..., Page], server: SiteServer
) -> None:
    page = visit()
    draw(page, SEVEN)
    read(page, 7)
    page.click("#work")
    expect(page.locator("#maps figure")).to_have_count(8, timeout=PATIENCE_MS)
    page.click("#labels button:nth-child(8)")
    expect(page.locator("#where")).to_contain_text("Kept as a 7")
    wait_until_kept(page, version_of(page))
    page.click("#clear")
    before = len(server.asked)
    draw(page, ONE)
    read(page, 1)
    assert server.asked[before:] == []
    names = {file.name for file in server.folder.rglob("*")}
    for line in server.asked:
        method, address = line.split()
        assert method == "GET"
        assert address.startswith(server.url)
        assert address == server.url or address.split("/")[-1] in names
    large = [line for line in server.asked if line.endswith("/onnxruntime.bin")]
    assert len(large) == 1  # by the page or its service worker; the other has it of the browser


def test_it_works_offline_after_the_first_visit(
    visit: Callable[..., Page], server: SiteServer
) -> None:
    page = visit()
    wait_until_kept(page, version_of(page))  # nothing was drawn yet
    stop(server)
    page.reload()
    draw(page, SEVEN)
    read(page, 7)
    page.click("#work")
    expect(page.locator("#maps figure")).to_have_count(8, timeout=PATIENCE_MS)
    expect(page.locator("#version")).to_contain_text("95 % interval")
    assert page.locator("#gallery button").count() >= 20


def test_a_new_version_replaces_the_old_one_and_an_open_page_goes_on_with_its_own(
    visit: Callable[..., Page], server: SiteServer, onnxruntime_web: Path, bundle: Path
) -> None:
    page = visit()
    old = version_of(page)
    wait_until_kept(page, old)
    report = server.folder.with_name("report")
    report.mkdir()
    shutil.copy(server.folder / "report.json", report)
    report_page = "<!doctype html><title>Another report</title>"
    (report / "report.html").write_text(report_page)
    newer = runtime_with_another_header(onnxruntime_web, server.folder.with_name("newer"))
    new = write_site(bundle, server.folder, runtime=newer, report=report).version
    page.reload()
    assert version_of(page) == old  # is shown at once, while the new one is fetched
    wait_until_kept(page, new)
    draw(page, SEVEN)  # for which the model is loaded, of a version that the server has no more
    read(page, 7)
    page.reload()
    assert version_of(page) == new
    draw(page, ONE)
    read(page, 1)
    assert kept(page) == [new]
    link = page.locator("#version a").get_attribute("href")
    assert page.evaluate("link => fetch(link).then(answer => answer.text())", link) == report_page


def runtime_with_another_header(runtime: Path, folder: Path) -> Path:
    (folder / "dist").mkdir(parents=True)
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        shutil.copy(runtime / "dist" / name, folder / "dist")
    with (folder / "dist" / "ort.wasm.bundle.min.mjs").open("a") as file:
        file.write("// of another version\n")
    return folder


def test_how_much_is_loaded_is_said_meanwhile(
    visit: Callable[..., Page], server: SiteServer
) -> None:
    server.held.add("onnxruntime.bin")
    page = visit()
    draw(page, SEVEN)
    says = page.locator("#says")
    expect(says).to_have_text(
        re.compile(r"Loading the network: 2\.\d of 3\.9 MB"), timeout=PATIENCE_MS
    )
    server.release.set()
    read(page, 7)


def test_who_saves_data_loads_the_network_with_the_first_drawing(
    visit: Callable[..., Page], server: SiteServer
) -> None:
    page = visit(script=SAVES_DATA)
    expect(page.locator("#gallery button").first).to_be_visible()
    page.evaluate("new Promise(done => requestIdleCallback(done))")
    assert not [line for line in server.asked if "onnx" in line or "offline" in line]
    draw(page, SEVEN)
    read(page, 7)
    wait_until_kept(page, version_of(page))


def test_a_site_that_went_away_is_said_and_asked_again(
    visit: Callable[..., Page], server: SiteServer, complaints: list[str]
) -> None:
    server.missing.add("picture.onnx")
    page = visit(script=SAVES_DATA)
    draw(page, SEVEN)
    says = page.locator("#says")
    expect(says).to_have_text(
        "There is a new version of this page: reload it.", timeout=PATIENCE_MS
    )
    server.missing.clear()
    stop(server)
    draw(page, ONE)
    expect(says).to_contain_text("The site does not answer", timeout=PATIENCE_MS)
    with serving(server.folder, server.server_address[1]):
        page.click("#undo")
        read(page, 7)
    # The browser's own lines, on what it could not fetch.
    assert all(re.search("fail.* to load|fetch", line, re.IGNORECASE) for line in complaints)
    complaints.clear()


def test_the_site_can_be_installed(visit: Callable[..., Page]) -> None:
    page = visit()
    wait_until_kept(page, version_of(page))
    browser = page.context.new_cdp_session(page)
    manifest = browser.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert json.loads(manifest["data"])["display"] == "standalone"
    errors = browser.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [error["errorId"] for error in errors if error["errorId"] != "in-incognito"] == []


# ---- the browser and Python agree


def test_they_agree_on_a_thousand_test_images_in_both_graphs(
    visit: Callable[..., Page], server: SiteServer, mnist: DataSet
) -> None:
    images = mnist.test.images[:1000]
    expected = Predictor().classify(images)
    shutil.copy(DEFAULT_BUNDLE / "digit.onnx", server.folder)
    (server.folder / "images").write_bytes(images.tobytes())
    page = visit()
    for graph in ("../digit.onnx", "feature_maps.onnx"):
        found = np.reshape(page.evaluate(CLASSIFY, [graph, len(images)]), (-1, 10))
        assert np.abs(found - expected).max() < TOLERANCE
        assert (found.argmax(1) == expected.argmax(1)).all()
    # Sums in another order: 998 of the 1,000 are within TOLERANCE, two within 6e-4.
    compare(page, server, [to_rgba(image) for image in images], 1e-3)


def test_they_agree_on_drawn_pictures_of_all_kinds(
    visit: Callable[..., Page], server: SiteServer
) -> None:
    compare(visit(), server, [to_rgba(picture) for picture, _, _ in drawing.draw_suite(seed=2)])


def test_they_agree_on_what_is_drawn_on_the_page(
    visit: Callable[..., Page], server: SiteServer
) -> None:
    page = visit(script=RECORD)
    rng = np.random.default_rng(5)
    drawn = []
    for _, strokes in drawing.STROKES:
        place = rng.uniform(0.1, 0.4, 2)
        for stroke in strokes:
            draw(page, tuple(place + 0.5 * (np.array(stroke) + rng.normal(0, 0.02, 2))))
        expect(page.locator("#digit")).not_to_have_class("none", timeout=PATIENCE_MS)
        data, height, width = page.evaluate(LATEST)
        drawn.append(np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4))
        page.click("#clear")
    compare(page, server, drawn)


def compare(
    page: Page, server: SiteServer, pictures: list[np.ndarray], tolerance: float = TOLERANCE
) -> None:
    """Ask browser and Python for the same pictures, uint8 (H, W, 4), and compare what they say.

    Not what was seen: where a middle lies between two pixels, the last bit of a sum decides which.
    """
    predictor = Predictor()
    for start in range(0, len(pictures), 100):
        some = pictures[start : start + 100]
        name = f"pictures-{start}"
        (server.folder / name).write_bytes(b"".join(picture.tobytes() for picture in some))
        found = page.evaluate(PREDICT, [name, [picture.shape[1::-1] for picture in some]])
        for answer, picture in zip(found, some, strict=True):
            expected = predictor.predict(picture)
            assert answer["digit"] == expected.digit
            assert np.abs(answer["probabilities"] - expected.probabilities).max() < tolerance
            assert abs(answer["confidence"] - expected.confidence) < tolerance
            assert (answer["sure"], answer["reason"]) == (expected.sure, expected.reason)
            assert answer["hypothesis"] == expected.hypothesis
