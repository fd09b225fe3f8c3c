"""The report as a page: its figures are the report's, it stands alone, and anyone can read it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

import mnistnet.report.html
from mnistnet import text as words
from mnistnet.errors import DataError
from mnistnet.metrics.corruptions import CORRUPTIONS
from mnistnet.report.build import Against, build_report
from mnistnet.report.html import render_html
from mnistnet.report.html.plots import accuracy_ticks

HOSTILE = "<script>alert(1)</script>\"'&amp;<img src=x onerror=alert(1)>\x00\u202e\ud800"
VOID = {"img", "meta"}


def full_report(labels, answers, other_answers, images, *, name="default"):
    spoilt = {
        c: {"wrong": i, "error": i / 200, "low": i / 300, "high": i / 150}
        for i, c in enumerate(CORRUPTIONS)
    }
    measured = {"seed": 0, "n": 200, "clean_error": 0.01, "mean_error": 0.035}
    return build_report(
        labels,
        answers,
        images,
        dataset={"name": "MNIST", "sha256": {"t10k-images-idx3-ubyte": "ab" * 32}},
        model={
            "name": name,
            "parameters": 20826,
            "size_bytes": {"digit.onnx": 86_123},
            "recipe": {"epochs": 30},
            "commit": "0123abc",
        },
        label_errors=np.flatnonzero(answers.argmax(axis=1) != labels)[:2].tolist(),
        file_names=[f"{name} {i}.png" for i in range(200)],
        threshold=0.7,
        not_digits={"letters": [0.2, 0.9, 0.5]},
        robustness=dict.fromkeys(("network", "picture"), measured | {"corruptions": spoilt}),
        against=Against(f"runs/{name}", other_answers),
        speed={"digit_images_per_s": 15200},
    )


@pytest.fixture(scope="session")
def report(labels, answers, other_answers, images):
    return full_report(labels, answers, other_answers, images)


@pytest.fixture(scope="session")
def page(report):
    return render_html(report)


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
        return " ".join(self.texts).replace(words.NARROW, " ")

    def table(self, *heads):
        [rows] = [rows for rows in self.tables if rows[0][: len(heads)] == list(heads)]
        return [[cell.replace(words.NARROW, " ") for cell in row] for row in rows[1:]]


def test_the_headline_says_accuracy_interval_and_n_in_words(page, labels, answers):
    right = int((answers.argmax(axis=1) == labels).sum())
    low, high = stats.binomtest(right, 200).proportion_ci(method="wilson")
    text = Reader(page).text
    assert f"It reads {right} of 200 pictures right: {right / 2:.2f} %." in text
    assert f"between {low * 100:.2f} % and {high * 100:.2f} % (95 % interval)" in text


def test_the_figures_on_the_page_are_scikit_learns(page, labels, answers):
    reader, answer, digits = Reader(page), answers.argmax(axis=1), list(range(10))
    precision, recall, f1, n = sk.precision_recall_fscore_support(labels, answer, labels=digits)
    assert reader.table("digit") == [
        [str(d), str(n[d]), *(f"{100 * x[d]:.2f} %" for x in (recall, precision, f1))]
        for d in digits
    ]
    matrix = sk.confusion_matrix(labels, answer)
    shown = reader.table("label ↓ read as →")
    assert [[int(c.replace("·", "0")) for c in row[1:]] for row in shown] == matrix.tolist()
    nll = sk.log_loss(labels, answers, labels=digits)
    brier = sk.brier_score_loss(labels, answers, labels=digits, scale_by_half=False)
    for figure in (f"{nll:.3g}", f"{brier:.3g}"):
        assert f" {figure} " in reader.text


def test_the_comparison_is_said_in_words_with_its_p_value(page, labels, answers, other_answers):
    this, other = (p.argmax(axis=1) == labels for p in (answers, other_answers))
    gained, lost = (this & ~other).sum(), (other & ~this).sum()
    p = stats.binomtest(int(lost), int(gained + lost)).pvalue
    assert p < 1e-4
    text = Reader(page).text
    assert "Better than runs/default (p < 0.0001)." in text
    assert f"This model alone is right on {gained}, runs/default alone on {lost}." in text
    assert f"{100 * (this.mean() - other.mean()):+.2f} points (95 % interval " in text
    assert f"{12 if gained > 12 else 'All'} of {gained} are shown." in text


def test_what_is_answered_when_unsure_pictures_are_left_out(page, labels, answers):
    kept = answers.max(axis=1) >= 0.7
    wrong = (answers.argmax(axis=1) != labels)[kept].sum()
    assert Reader(page).table("answered")[-1] == [
        f"shipped: {100 * kept.mean():.1f} %",
        "70.0 %",
        str(kept.sum()),
        str(wrong),
        f"{100 - 100 * wrong / kept.sum():.2f} %",
    ]


def test_every_corruption_has_a_picture_and_both_paths_errors(page):
    reader = Reader(page)
    alts = [image["alt"] for image in reader.all("img")]
    for i, name in enumerate(CORRUPTIONS):
        assert any(alt.endswith(f"with {name.replace('_', ' ')}") for alt in alts)
        figures = f"{i / 2:.1f} %   {i / 3:.1f}–{i / 1.5:.1f} %"
        assert reader.text.count(figures) == 2
    assert ["28×28 network", "200", "1.00 %", "3.50 %"] in reader.table("path")


def test_size_speed_and_origin_are_there(page):
    reader = Reader(page)
    facts = reader.table("what", "how much")
    assert ["parameters", "20,826"] in facts
    assert ["digit.onnx", "86.1 kB"] in facts
    assert ["digit images per s", "15200"] in facts
    origin = reader.table("what", "which")
    assert ["data · sha256 · t10k-images-idx3-ubyte", "ab" * 32] in origin
    assert ["model · recipe · epochs", "30"] in origin
    assert ["model · commit", "0123abc"] in origin


def test_mislabelled_pictures_are_marked_wherever_they_are_shown(page, report):
    shown = [*report["mistakes"], *report["against"]["gained"], *report["against"]["lost"]]
    marked = sum(entry["is_mislabelled"] for entry in shown)
    assert marked >= 2
    assert page.count("label known to be wrong") == marked
    assert "these make up 2 of the" in Reader(page).text


def test_parts_that_were_not_measured_are_left_out(labels, answers, images):
    report = build_report(labels, answers, images, dataset={"name": "d"}, model={"name": "m"})
    ids = [a["id"] for a in Reader(render_html(report)).all("section")]
    assert ids == ["digits", "confusion", "mistakes", "confidence", "origin"]


def test_a_model_without_mistakes_and_a_set_without_some_digits_are_drawn(images):
    labels = np.zeros(5, int)
    report = build_report(
        labels, np.eye(10)[labels], images[:5], dataset={"name": "d"}, model={"name": "m"}
    )
    reader = Reader(render_html(report))
    assert "100.00 %" in reader.text
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


def test_hostile_names_stay_text(labels, answers, other_answers, images):
    page = render_html(full_report(labels, answers, other_answers, images, name=HOSTILE))
    reader = Reader(page)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert not [a for _, attributes in reader.tags for a in attributes if a.startswith("on")]
    assert "<script>alert(1)</script>\"'&amp;<img src=x onerror=alert(1)>" in reader.text
    assert not {"\x00", "\u202e", "\ud800"} & set(page)
    page.encode()


def test_a_report_that_was_tampered_with_is_refused_and_fetches_nothing(report):
    for broken in (
        {},
        {"format": 2},
        report | {"accuracy": {}},
        report | {"confusion_matrix": "x"},
        report | {"pictures": report["pictures"] | {"images": {}}},
    ):
        with pytest.raises(DataError) as error:
            render_html(broken)
        assert "\n" not in str(error.value)
    spying = json.loads(json.dumps(report))
    first = str(spying["mistakes"][0]["index"])
    spying["pictures"]["images"][first] = "https://example.org/spy.png"
    with pytest.raises(DataError, match="not held in the report itself"):
        render_html(spying)


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


def test_text_has_the_contrast_of_wcag_aa_in_light_dark_and_print():
    style = (Path(mnistnet.report.html.__file__).parent / "style.css").read_text("utf-8")
    themes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(themes) == 3
    for theme in themes:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", theme))
        for text in ("ink", "faint", "accent", "badge"):
            for ground in ("page", "panel"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["ink"], colours["right"]) >= 4.5
        heat = [int(c) for c in re.search(r"--heat-rgb: (\d+) (\d+) (\d+)", theme).groups()]
        page = [int(colours["page"][i : i + 2], 16) for i in (1, 3, 5)]
        hottest = [round(0.6 * h + 0.4 * p) for h, p in zip(heat, page, strict=True)]
        assert contrast(colours["ink"], "#{:02x}{:02x}{:02x}".format(*hottest)) >= 4.5


@pytest.mark.parametrize("lowest", [0.0, 0.1, 0.5, 0.93, 0.9925, 0.9967, 0.9999, 1.0])
def test_axes_start_just_below_the_lowest_accuracy(lowest):
    ticks = accuracy_ticks(lowest)
    assert ticks[0] <= lowest
    assert ticks[-1] == 1
    assert 2 <= len(ticks) <= 6
    assert (1 - ticks[0]) <= max(2.6 * (1 - lowest), 1e-3)
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_figures_are_written_as_people_read_them():
    n = words.NARROW
    assert words.percent(0.99672) == f"99.67{n}%"
    assert words.percent(None) == "–"
    assert words.interval(0.1, 0.25, 0) == f"10–25{n}%"
    assert words.points(-0.0012) == "−0.12"
    assert words.counted(1, "mistake") == "1 mistake"
    assert words.counted(1200, "mistake") == "1,200 mistakes"
    assert words.p_value(0.00531) == "p = 0.0053"
    assert words.chance(1e-9) == "less than 0.0001"
    assert (words.size(86_123), words.size(1_234_567)) == ("86.1 kB", "1.23 MB")
    assert words.decimal(0.0033) == "0.0033"


def test_what_was_timed_several_times_is_shown_with_its_spread(labels, answers, images):
    timed = {"median": 38245.4, "low": 37000.2, "high": 39000.0, "n": 20}
    report = build_report(
        labels,
        answers,
        images,
        dataset={"name": "d"},
        model={"name": "m"},
        speed={"images_per_s": timed, "ms_per_picture": dict.fromkeys(timed, 1.23456)},
    )
    facts = Reader(render_html(report)).table("what", "how much")
    assert facts[0][1] == "38,245 (quartiles 37,000–39,000, n = 20)"
    assert facts[1][1] == "1.23 (quartiles 1.23–1.23, n = 1)"


def test_whether_it_is_too_sure_or_too_modest_is_said_in_words(labels, images):
    def said(confidence):
        answers = np.full((200, 10), (1 - confidence) / 9)
        answers[np.arange(200), np.where(np.arange(200) % 10, labels, (labels + 1) % 10)] = (
            confidence
        )
        report = build_report(labels, answers, images, dataset={"name": "d"}, model={"name": "m"})
        return Reader(render_html(report)).text

    assert "it is 90.0 % sure and 90.0 % right: that is honest." in said(0.9)
    assert "it is 99.0 % sure and 90.0 % right: it is surer than it should be." in said(0.99)
    assert "it is 60.0 % sure and 90.0 % right: it is too modest." in said(0.6)
