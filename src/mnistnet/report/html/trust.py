"""Whether the model can be trusted: its own confidence, and pictures it was not trained for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnistnet.report.html.gallery import spoilt
from mnistnet.report.html.markup import node, scrolling, section, table
from mnistnet.report.html.plots import coverage_plot, reliability_plot
from mnistnet.text import SURE, count, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

    Report = Mapping[str, Any]

PATHS = {"network": "28×28 network", "picture": "picture graph"}


def confidence(report: Report) -> Element:
    """Show whether its confidence can be trusted, and what "not sure" would buy."""
    selective = report["selective"]
    chosen = selective.get("chosen")
    return section(
        "confidence",
        "Does it know when it is wrong?",
        f"Its confidence is the probability of the digit it names. Where it is {percent(0.9, 0)}, "
        "it should be right nine times in ten: then the bars end on the dashed line. The thin "
        f"lines say how sure each bar is ({SURE} intervals; few pictures make them long).",
        reliability_plot(report["calibration"]["bins"]),
        _on_the_whole(report["calibration"]["bins"]),
        node("details", node("summary", "The same in figures"), _reliability_table(report)),
        "It may also say “not sure” and leave the least confident pictures to a person. The "
        "fewer it must answer, the fewer of its answers are wrong."
        + (" The dot is what it is shipped with." if chosen else ""),
        coverage_plot(selective["curve"], chosen),
        _coverage_table(selective["points"], chosen),
        *_not_digits(report),
    )


def _on_the_whole(bins: Sequence[Mapping[str, Any]]) -> str:
    """Say whether it is too sure of itself or too modest."""
    filled = [b for b in bins if b["n"]]
    n = sum(b["n"] for b in filled)
    sure, right = (sum(b["n"] * b[key] for b in filled) / n for key in ("confidence", "accuracy"))
    if abs(sure - right) < 0.005:
        direction = "that is honest"
    else:
        direction = "it is surer than it should be" if sure > right else "it is too modest"
    return f"On the whole it is {percent(sure, 1)} sure and {percent(right, 1)} right: {direction}."


def _reliability_table(report: Report) -> Element:
    rows = [
        (
            f"{percent(b['low'], 0)} to {percent(b['high'], 0)}",
            count(b["n"]),
            percent(b["confidence"], 1),
            percent(b["accuracy"], 1),
        )
        for b in report["calibration"]["bins"]
        if b["n"]
    ]
    return table("Accuracy by confidence", ("confidence", "pictures", "mean", "right"), rows)


def _coverage_table(
    points: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any] | None
) -> Element:
    named = [("", point) for point in points] + ([("shipped: ", chosen)] if chosen else [])
    rows = [
        (
            name + percent(point["coverage"], 1),
            percent(point["threshold"], 1),
            count(point["answered"]),
            count(point["wrong"]),
            percent(point["accuracy"]),
        )
        for name, point in named
    ]
    heads = ("answered", "if at least so sure", "pictures", "mistakes", "accuracy")
    caption = "If only the most confident are answered"
    return scrolling(table(caption, heads, rows), "Answered pictures")


def _not_digits(report: Report) -> Iterator[Element]:
    if "not_digits" not in report:
        return
    yield node("h3", "Pictures that are no digit")
    yield node(
        "p",
        "Drawn letters, scribbles and empty paper, read by the picture graph. "
        "AUROC is the chance that a digit is answered with more confidence than such a picture: "
        "1 tells them apart perfectly, 0.5 not at all.",
    )
    rows = [
        (
            row["kind"],
            count(row["n"]),
            f"{row['auroc']:.3f}",
            percent(row["refused"] / row["n"] if "refused" in row else None, 1),
        )
        for row in report["not_digits"]
    ]
    heads = ("picture of", "pictures", "AUROC", "answered “not sure”")
    yield scrolling(table("Telling digits from other pictures", heads, rows), "No digits")


def robustness(report: Report) -> Element | None:
    """Show each corruption and what it costs."""
    if "robustness" not in report:
        return None
    paths = report["robustness"]
    first = next(iter(paths.values()))
    scale = max(c["high"] for path in paths.values() for c in path["corruptions"].values())
    rows = [
        (
            PATHS.get(path, path),
            count(measured["n"]),
            percent(measured["clean_error"]),
            percent(measured["mean_error"]),
        )
        for path, measured in paths.items()
    ]
    heads = ("path", "pictures", "mistakes, clean", "mistakes, mean of all")
    cards = [spoilt(report, name, scale, PATHS) for name in first["corruptions"]]
    return section(
        "robustness",
        "What if the picture is spoilt?",
        f"Pictures from all over the set are spoilt in {len(cards)} ways that leave a person able "
        "to read them, and read again. Names and strength are those of the MNIST-C benchmark. The "
        "28×28 network sees the pixels as they are; the picture graph first finds, centres and "
        "scales the ink.",
        scrolling(table("Share of mistakes", heads, rows), "Robustness"),
        f"Below, bars and figures are the share of mistakes, with {SURE} intervals; all bars have "
        f"the same scale, which ends at {percent(scale, 0)}.",
        node("div", *cards, class_="cards"),
    )
