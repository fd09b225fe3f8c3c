"""The report as a page: its figures are the report's, it stands alone, and anyone can read it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from mnistnet import text
from mnistnet.metrics.corruptions import CORRUPTIONS
from mnistnet.report.build import Predictions, build
from mnistnet.report.contents import Dataset, Model
from mnistnet.report.page import Axis, render_page

HOSTILE = "<script>alert(1)</script>\"'&amp;<img src=x onerror=alert(1)>\x00\x1b[2J\u202e\ud800"
VOID = {"img", "meta"}


@pytest.fixture(scope="session")
def page(report):
    return render_page(report)


class Reader(HTMLParser):
    """Read a page as a browser does, refusing tags that do not nest."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts, self.tables = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if "style" not in self.open:
            self.texts.append(text)
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += text

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(self.texts)

    def table(self, *heads):
        [rows] = [rows for rows in self.tables if rows[0][: len(heads)] == list(heads)]
        return rows[1:]


def test_the_figures_on_the_page_are_the_reports(page, report):
    reader, accuracy, chosen = Reader(page), report.accuracy, report.at_threshold
    right = f"{accuracy.correct} of 200 pictures correctly: an accuracy of {accuracy.value:.2%}."
    assert right in reader.text
    ends = f"between {accuracy.low:.2%} and {accuracy.high:.2%} (95% interval)"
    assert ends in reader.text
    assert reader.table("digit") == [
        [str(c.digit), str(c.n), *(f"{share:.2%}" for share in (c.recall, c.precision, c.f1))]
        for c in report.classes
    ]
    shown = reader.table("label")
    counts = tuple(tuple(int(cell.replace("·", "0")) for cell in row[1:]) for row in shown)
    assert counts == report.confusion_matrix
    for figure in (report.negative_log_likelihood, report.brier_score):
        assert f"{figure:.3g}" in reader.texts
    assert reader.table("answered")[-1] == [
        f"shipped: {chosen.coverage:.1%}",
        "70.0%",
        str(chosen.answered),
        str(chosen.wrong),
        f"{chosen.accuracy:.2%}",
    ]


def test_the_comparison_is_described_with_its_p_value(page, report):
    text, against = Reader(page).text, report.against
    assert against.p < 1e-4
    assert "Better than runs/default (p < 0.0001)." in text
    n_gained, n_lost = against.n_gained, against.n_lost
    assert f"Only this model is right on {n_gained}, only runs/default on {n_lost}." in text
    assert f"{100 * against.difference:+.2f} points (95% interval " in text
    assert f"{12 if n_gained > 12 else 'All'} of {n_gained} are shown." in text


def test_the_bars_of_calibration_carry_scipys_interval(page, report):
    whiskers = re.findall(r'y1="([0-9.]+)" y2="([0-9.]+)" class="whisker"', page)
    filled = [b for b in report.reliability if b.n]
    for ends, b in zip(whiskers, filled, strict=True):
        shown = [(206 - float(y)) / 196 for y in ends]  # the axis: 0% at 206 pixels, 100% at 10
        expected = stats.binomtest(round(b.accuracy * b.n), b.n).proportion_ci(method="wilson")
        assert shown == pytest.approx(list(expected), abs=1e-3)


def test_every_corruption_has_a_picture_and_both_paths_errors(page):
    reader = Reader(page)
    alts = [image["alt"] for image in reader.all("img")]
    for i, name in enumerate(CORRUPTIONS):
        assert any(alt.endswith(f"with {name.replace('_', ' ')}") for alt in alts)
        assert reader.texts.count(f"{i / 2:.1f}%") >= 2
        assert reader.texts.count(f"{i / 3:.1f}–{i / 1.5:.1f}%") == 2
    assert ["28×28 network", "200", "1.00%", "3.50%"] in reader.table("path")


def test_size_speed_and_origin_are_in_tables(page):
    reader = Reader(page)
    rows = reader.table("what", "how much")
    assert [row[1] for row in rows] == [
        "20,826",
        "86.1 kB",
        "38,245 (quartiles 37,000–39,000, n = 20)",
        "1.23 (quartiles 1.2–1.3, n = 100)",
        "ONNX Runtime",
    ]
    origin = reader.table("what", "which")
    assert ["data · t10k-images-idx3-ubyte", "ab" * 32] in origin
    assert ["model · recipe · epochs", "30"] in origin
    assert ["model · source · commit", "0123abc"] in origin


def test_training_curves_have_a_line_for_each_network(page, report):
    without = render_page(replace(report, curves=()))
    lines = [len(Reader(shown).all("polyline")) for shown in (page, without)]
    assert lines[0] - lines[1] == 2 * 2  # two networks; loss and accuracy


def test_label_errors_are_marked_wherever_they_are_shown(page, report):
    shown = [*report.mistakes, *report.against.gained, *report.against.lost]
    marked = sum(sample.is_label_error for sample in shown)
    assert marked >= 2
    assert page.count("label known to be wrong") == marked
    assert "they are 2 of the" in Reader(page).text


def test_parts_that_were_not_measured_are_left_out(predictions):
    ids = [a["id"] for a in Reader(render_page(build(predictions, Model("m")))).all("section")]
    assert ids == ["confusion", "mistakes", "digits", "calibration", "origin"]


def test_a_model_without_mistakes_and_a_set_without_some_digits_are_drawn(images):
    labels = np.zeros(5, int)
    predictions = Predictions(Dataset("d"), images[:5], labels, np.eye(10)[labels])
    reader = Reader(render_page(build(predictions, Model("m"))))
    assert "100.00%" in reader.text
    assert "There are none." in reader.text
    assert reader.table("digit")[3] == ["3", "0", "–", "–", "–"]


def test_the_page_stands_alone(page):
    reader = Reader(page)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in reader.tags}
    assert all(a["src"].startswith("data:image/png;base64,") for a in reader.all("img"))
    assert all(a["href"].startswith("#") for a in reader.all("a"))
    assert "url(" not in page
    assert "@import" not in page
    [policy] = [a["content"] for a in reader.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_hostile_names_stay_text(make_report):
    page = render_page(make_report(HOSTILE))
    reader = Reader(page)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert not [a for _, attributes in reader.tags for a in attributes if a.startswith("on")]
    assert "<script>alert(1)</script>\"'&amp;<img src=x onerror=alert(1)>" in reader.text
    assert not {"\x00", "\x1b", "\u202e", "\ud800"} & set(page)
    page.encode()


def test_people_who_cannot_see_the_page_can_read_it(page):
    reader = Reader(page)
    assert reader.tags[0] == ("html", {"lang": "en"})
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in reader.all(
        "meta"
    )
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(image["alt"] for image in reader.all("img"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in reader.all("svg"))
    assert len(reader.all("caption")) == len(reader.all("table"))
    ids = {a["id"] for _, a in reader.tags if "id" in a}
    assert {a["href"][1:] for a in reader.all("a")} == ids


@pytest.mark.parametrize("lowest", [0.0, 0.1, 0.5, 0.93, 0.9925, 0.9967, 0.9999, 1.0])
def test_an_axis_starts_just_below_the_lowest_accuracy(lowest):
    ticks = Axis.over(lowest, 1, 206, 10, "%").ticks
    assert ticks[0] <= lowest
    assert ticks[-1] == 1
    assert 2 <= len(ticks) <= 9
    assert (1 - ticks[0]) <= max(2 * (1 - lowest), 1e-3)
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_figures_are_written_as_people_read_them():
    assert text.percent(0.99672) == "99.67%"
    assert text.percent(None) == "–"
    assert text.points(-0.0012) == "−0.12"
    assert text.counted(1, "mistake") == "1 mistake"
    assert text.counted(1200, "mistake") == "1,200 mistakes"
    assert text.p_value(0.00531) == "p = 0.0053"
    assert (text.size(86_123), text.size(1_234_567)) == ("86.1 kB", "1.23 MB")
    assert text.decimal(0.0033) == "0.0033"


@pytest.mark.parametrize(
    ("confidence", "verdict"),
    [(0.9, "well calibrated"), (0.99, "overconfident"), (0.6, "underconfident")],
)
def test_over_and_underconfidence_are_named(predictions, labels, confidence, verdict):
    rows = np.full((200, 10), (1 - confidence) / 9)  # nine in ten are right
    predicted = np.where(np.arange(200) % 10, labels, (labels + 1) % 10)
    rows[np.arange(200), predicted] = confidence
    page = render_page(build(replace(predictions, probabilities=rows), Model("m")))
    expected = f"its confidence is {confidence:.1%} and its accuracy 90.0%: it is {verdict}."
    assert expected in Reader(page).text
