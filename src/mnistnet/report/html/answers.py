"""What the model gets right and wrong: the page's first sections.

A section takes the report and says in a plain sentence what each of its figures means, for a
reader who has never met it. One whose figures the report does not hold is left out (None).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnistnet.report.html.gallery import mistake
from mnistnet.report.html.markup import node, scrolling, section, table
from mnistnet.text import (
    SURE,
    chance,
    count,
    counted,
    decimal,
    p_value,
    percent,
    points,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

    Report = Mapping[str, Any]

DIGITS = [str(digit) for digit in range(10)]
LISTED = 200  # files without an answer; report.json names them all


def title(report: Report) -> str:
    """Name the page after the model and the data."""
    return f"How well {report['model']['name']} reads {report['dataset']['name']}"


def headline(report: Report, heading: str) -> Element:
    """Say how good the model is and how sure that is, in a few sentences and four figures."""
    accuracy = report["accuracy"]
    sentences = (
        f"It reads {count(accuracy['correct'])} of {counted(accuracy['n'], 'picture')} right: "
        f"{percent(accuracy['value'])}. Measured on ever more such pictures, its accuracy would "
        f"settle between {percent(accuracy['low'])} and {percent(accuracy['high'])} "
        f"({SURE} interval)."
    )
    return node(
        "header",
        node("h1", heading),
        node("p", sentences, class_="lead"),
        node("p", _verdict(report["against"]), class_="lead") if "against" in report else None,
        _unread(report),
        _mislabelled(report),
        _tiles(report),
    )


def _unread(report: Report) -> Element | None:
    if "unread" not in report:
        return None
    blank, broken = len(report["unread"]["no_ink"]), len(report["unread"]["undecoded"])
    words = []
    if blank:
        words.append(
            f"In {counted(blank, 'picture')} it found no ink. Those count as wrong; the figures "
            "on its probabilities are on the others."
        )
    if broken:
        words.append(f"{counted(broken, 'file')} could not be read and are in no figure.")
    return node("p", " ".join(words), " They are ", node("a", "listed below", href="#unread"), ".")


def _mislabelled(report: Report) -> Element | None:
    if "mislabelled" not in report:
        return None
    known, among = report["mislabelled"]["known"], report["mislabelled"]["among_mistakes"]
    return node(
        "p",
        f"On {known} of the pictures, people have shown the label itself to be wrong, so no model "
        f"should reach {percent(1, 0)}; these make up {among} of the "
        f"{counted(report['accuracy']['wrong'], 'mistake')}.",
    )


def _tiles(report: Report) -> Element:
    tiles = (
        ("accuracy", percent(report["accuracy"]["value"]), "the share of pictures read right"),
        (
            "negative log-likelihood",
            decimal(report["negative_log_likelihood"]),
            "how surprised it is by the truth; 0 is never, 2.3 is guessing",
        ),
        (
            "Brier score",
            decimal(report["brier_score"]),
            "how far its probabilities lie from the truth; 0 is best, 0.9 is guessing, 2 is worst",
        ),
        (
            "calibration error (ECE)",
            decimal(report["calibration"]["expected_calibration_error"]),
            "how far its confidence is from how often it is right; 0 is honest",
        ),
    )
    boxes = [
        node("div", node("dt", name), node("dd", figure, class_="figure"), node("dd", meaning))
        for name, figure, meaning in tiles
    ]
    return node("dl", *boxes, class_="tiles")


def comparison(report: Report) -> Element | None:
    """Say whether this model is better than another, and show where they differ."""
    if "against" not in report:
        return None
    other = report["against"]
    name = other["name"]
    explanation = (
        "Both models read the same pictures. This model alone is right on "
        f"{count(other['n_gained'])}, {name} alone on {count(other['n_lost'])}. If neither were "
        f"better, a split at least this uneven would have a chance of {chance(other['p'])} (exact "
        "McNemar test); below 0.05 the models are said to differ. The difference in accuracy is "
        f"{points(other['difference'])} points ({SURE} interval {points(other['low'])} to "
        f"{points(other['high'])}, Tango 1998): {percent(report['accuracy']['value'])} against "
        f"{percent(other['accuracy']['value'])}."
    )
    return section(
        "against",
        "Compared with another model",
        node("p", _verdict(other), class_="lead"),
        explanation,
        *_flips(report, "gained", "Only this model is right"),
        *_flips(report, "lost", f"Only {name} is right"),
    )


def _verdict(other: Mapping[str, Any]) -> str:
    words = {
        "better": "Better than",
        "worse": "Worse than",
        "cannot tell": "Cannot tell whether it is better or worse than",
    }
    return f"{words[other['verdict']]} {other['name']} ({p_value(other['p'])})."


def _flips(report: Report, kind: str, heading: str) -> list[Element]:
    """Show the pictures that only one of two models reads right."""
    other = report["against"]
    figures = [mistake(report, entry, other["name"]) for entry in other[kind]]
    return [
        node("h3", heading),
        node("p", _shown(len(figures), other[f"n_{kind}"])),
        node("div", *figures, class_="gallery"),
    ]


def digits(report: Report) -> Element:
    """Show how each digit fares."""
    rows = [
        (
            str(row["digit"]),
            count(row["n"]),
            percent(row["recall"]),
            percent(row["precision"]),
            percent(row["f1"]),
        )
        for row in report["classes"]
    ]
    heads = ("digit", "pictures", "recall", "precision", "F1")
    return section(
        "digits",
        "Digit by digit",
        "Recall: of the pictures of this digit, how many are found. Precision: of the pictures "
        "called this digit, how many are. F1: both in one figure (their harmonic mean).",
        scrolling(table("Recall, precision and F1 of each digit", heads, rows), "Digit by digit"),
    )


def confusion(report: Report) -> Element:
    """Show which digits are taken for which."""
    matrix = report["confusion_matrix"]
    worst = max(n for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j) or 1
    body = []
    for label, row in enumerate(matrix):
        cells = [node("th", str(label), scope="row")]
        for answer, n in enumerate(row):
            kind = "right" if label == answer else None
            shade = None if kind or not n else f"--heat: {0.1 + 0.5 * n / worst:.2f}"
            cells.append(node("td", count(n) if n else "·", class_=kind, style=shade))
        body.append(node("tr", *cells))
    head = [node("td", "label ↓ read as →"), *(node("th", d, scope="col") for d in DIGITS)]
    heat_map = node(
        "table",
        node("caption", "Rows: the digit it is. Columns: the digit it was read as."),
        node("thead", node("tr", *head)),
        node("tbody", *body),
        class_="matrix",
    )
    return section(
        "confusion",
        "What is taken for what",
        "Each number counts pictures. Those on the diagonal were read right; the redder a cell "
        "beside it, the more often that digit was taken for the other.",
        scrolling(heat_map, "Confusion matrix"),
    )


def mistakes(report: Report) -> Element:
    """Show the worst mistakes as pictures."""
    wrong = report["accuracy"]["wrong"] - len(report.get("unread", {}).get("no_ink", ()))
    if not wrong:
        return section("mistakes", "The worst mistakes", "There are none.")
    figures = [mistake(report, entry) for entry in report["mistakes"]]
    return section(
        "mistakes",
        "The worst mistakes",
        "The worst mistake is the one that gave the true digit the least probability. "
        + _shown(len(figures), wrong),
        node("div", *figures, class_="gallery"),
    )


def unread(report: Report) -> Element | None:
    """List the files that got no answer, and why."""
    if "unread" not in report:
        return None
    rows = [
        (entry["file"], f"no ink is seen; its label is {entry['label']}", "wrong")
        for entry in report["unread"]["no_ink"]
    ]
    rows += [(file, why, "not counted") for file, why in report["unread"]["undecoded"].items()]
    listed = rows[:LISTED]
    more = f" {len(listed)} of {count(len(rows))} are listed." if len(rows) > LISTED else ""
    heads = ("file", "why", "counts as")
    files = table("Files without an answer", heads, listed, class_="origin")
    return section(
        "unread",
        "Pictures that got no answer",
        "A picture in which no ink is found is answered with no digit, which is wrong where there "
        "is one. A file that is no picture, or has no label, says nothing of the model." + more,
        scrolling(files, "Files without an answer"),
    )


def _shown(shown: int, n: int) -> str:
    if not n:
        return "There are none."
    return f"All {count(n)} are shown." if shown == n else f"{shown} of {count(n)} are shown."
