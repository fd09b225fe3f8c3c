"""The report as a page: its figures are the report's, it stands alone, and anyone can read it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

import mnistnet.report.page
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


def test_the_headline_has_accuracy_interval_and_n(page, labels, answers):
    right = int((answers.argmax(axis=1) == labels).sum())
    low, high = stats.binomtest(right, 200).proportion_ci(method="wilson")
    text = Reader(page).text
    assert f"{right} of 200 pictures correctly: an accuracy of {right / 2:.2f}%." in text
    assert f"between {low * 100:.2f}% and {high * 100:.2f}% (95% interval)" in text


def test_the_figures_on_the_page_are_scikit_learns(page, labels, answers):
    reader, predicted, digits = Reader(page), answers.argmax(axis=1), list(range(10))
    precision, recall, f1, n = sk.precision_recall_fscore_support(labels, predicted, labels=digits)
    assert reader.table("digit") == [
        [str(d), str(n[d]), *(f"{100 * x[d]:.2f}%" for x in (recall, precision, f1))]
        for d in digits
    ]
    shown = reader.table("label ↓ predicted →")
    counts = [[int(cell.replace("·", "0")) for cell in row[1:]] for row in shown]
    assert counts == sk.confusion_matrix(labels, predicted).tolist()
    nll = sk.log_loss(labels, answers, labels=digits)
    brier = sk.brier_score_loss(labels, answers, labels=digits, scale_by_half=False)
    for figure in (f"{nll:.3g}", f"{brier:.3g}"):
        assert figure in reader.texts


def test_the_comparison_is_described_with_its_p_value(page, labels, answers, other_answers):
    this, other = (p.argmax(axis=1) == labels for p in (answers, other_answers))
    gained, lost = (this & ~other).sum(), (other & ~this).sum()
    assert stats.binomtest(int(lost), int(gained + lost)).pvalue < 1e-4
    text = Reader(page).text
    assert "Better than runs/default (p < 0.0001)." in text
    assert f"Only this model is right on {gained}, only runs/default on {lost}." in text
    assert f"{100 * (this.mean() - other.mean()):+.2f} points (95% interval " in text
    assert f"{12 if gained > 12 else 'All'} of {gained} are shown." in text


def test_what_is_answered_above_the_threshold_is_in_a_table(page, labels, answers):
    kept = answers.max(axis=1) >= 0.7
    wrong = (answers.argmax(axis=1) != labels)[kept].sum()
    assert Reader(page).table("answered")[-1] == [
        f"shipped: {100 * kept.mean():.1f}%",
        "70.0%",
        str(kept.sum()),
        str(wrong),
        f"{100 - 100 * wrong / kept.sum():.2f}%",
    ]


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


def test_training_curves_have_a_line_for_each_network(page):
    section = page[page.index('<section id="training">') :]
    lines = re.findall(r'<polyline points="([^"]*)" class="curve( faint)?"', section)
    assert [faint for _, faint in lines] == [" faint", "", " faint", ""]  # loss, accuracy
    assert all(len(points.split()) == 4 for points, _ in lines)


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


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_has_the_contrast_of_wcag_aa_in_light_and_dark():
    templates = Path(mnistnet.report.page.__file__).parent / "templates"
    style = (templates / "style.css").read_text("utf-8")
    themes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", theme))
        for ink in ("ink", "faint", "accent", "badge"):
            for ground in ("page", "panel"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        assert contrast(colours["ink"], colours["right"]) >= 4.5
        heat = [int(c) for c in re.search(r"--heat-rgb: (\d+) (\d+) (\d+)", theme).groups()]
        page = [int(colours["page"][i : i + 2], 16) for i in (1, 3, 5)]
        hottest = [round(0.6 * h + 0.4 * p) for h, p in zip(heat, page, strict=True)]
        assert contrast(colours["ink"], "#{:02x}{:02x}{:02x}".format(*hottest)) >= 4.5


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
def test_whether_it_is_overconfident_is_said_in_words(predictions, labels, confidence, verdict):
    rows = np.full((200, 10), (1 - confidence) / 9)  # nine in ten are right
    predicted = np.where(np.arange(200) % 10, labels, (labels + 1) % 10)
    rows[np.arange(200), predicted] = confidence
    page = render_page(build(replace(predictions, probabilities=rows), Model("m")))
    expected = f"its confidence is {confidence:.1%} and its accuracy 90.0%: it is {verdict}."
    assert expected in Reader(page).text
