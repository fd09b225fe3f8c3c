"""The page in a real browser, at a phone's and a desk's width. Needs Chromium or Chrome."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from mnistnet.metrics.corruptions import CORRUPTIONS
from mnistnet.report.page import render_page

pytestmark = pytest.mark.slow

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Shows the page in frames of two widths, and writes down what it finds in them.
HARNESS = """<!doctype html><meta charset="utf-8">
<iframe src="report.html" width="390" height="800"></iframe>
<iframe src="report.html" width="1280" height="800"></iframe><pre></pre>
<script>
const rgba = colour => {  // "rgb(1, 2, 3)" or "rgb(1 2 3 / 0.5)" → four numbers
  const n = colour.match(/[0-9.]+/g).map(Number);
  return [n[0], n[1], n[2], n[3] ?? 1];
};
const luminance = colour => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
  const c = colour[i] / 255;
  return sum + weight * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
}, 0);
const ground = element => {  // what is painted behind an element, layer by layer
  if (!element) return [255, 255, 255];
  const below = ground(element.parentElement);
  const [r, g, b, a] = rgba(getComputedStyle(element).backgroundColor);
  return [r, g, b].map((c, i) => a * c + (1 - a) * below[i]);
};
const faint = page => [...page.body.querySelectorAll("*")]
  .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
  .filter(e => {
    const style = getComputedStyle(e), ink = e.closest("svg") ? style.fill : style.color;
    const [low, high] = [luminance(rgba(ink)), luminance(ground(e))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05) < 4.5;
  }).map(e => e.textContent);
onload = () => {
  const seen = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    return {width: root.clientWidth, needed: root.scrollWidth, pictures: page.images.length,
            missing: [...page.images].filter(image => !image.naturalWidth).length,
            faint: faint(page), background: luminance(ground(page.body))};
  });
  document.querySelector("pre").textContent = JSON.stringify(seen);
}</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_report):
    folder = tmp_path_factory.mktemp("report")
    report = make_report("a-name-too-long-to-fit-on-a-phone-" * 3)
    (folder / "report.html").write_text(render_page(report), encoding="utf-8")
    (folder / "harness.html").write_text(HARNESS, encoding="utf-8")
    return folder


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_page_fits_a_phone_and_a_desk_is_legible_in_each_theme_and_logs_nothing(
    folder, theme, chromium
):
    command = (
        *(chromium, *QUIET, f"--user-data-dir={folder / 'profile'}"),
        *("--allow-file-access-from-files", "--enable-logging=stderr", "--dump-dom"),
        *(f"--blink-settings=preferredColorScheme={int(theme == 'light')}",),
        (folder / "harness.html").as_uri(),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    phone, desk = json.loads(re.search("<pre>(.*)</pre>", done.stdout).group(1))
    for seen in (phone, desk):
        assert seen["needed"] <= seen["width"]
        assert seen["pictures"] > len(CORRUPTIONS)
        assert seen["missing"] == 0
        assert seen["faint"] == []
        assert (seen["background"] > 0.5) == (theme == "light")
    assert "CONSOLE" not in done.stderr
