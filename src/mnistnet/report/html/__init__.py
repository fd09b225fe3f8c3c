"""The report as one page, which needs no network, no script and nothing beside it.

    >>> page = render_html(report)

`words` puts figures into words, `markup` words into a tree, `plots` and `gallery` figures and
pictures into it; `answers`, `trust` and `facts` hold the page's sections in their order, and
`style.css` says how it looks.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mnistnet.errors import DataError
from mnistnet.report.build import FORMAT
from mnistnet.report.html import answers, facts, trust
from mnistnet.report.html.markup import document, node

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

# Nothing is fetched and nothing is run, whatever a report's text may hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

PARTS = (
    answers.comparison,
    answers.digits,
    answers.confusion,
    answers.mistakes,
    answers.unread,
    trust.confidence,
    trust.robustness,
    facts.size_and_speed,
    facts.origin,
)


def render_html(report: Mapping[str, Any]) -> str:
    """Draw a report as an HTML document.

    Args:
        report: what `build_report` gave, or what `report.json` holds.

    Raises:
        DataError: it is not a report, or one of another format.
    """
    if report.get("format") != FORMAT:
        raise DataError(f"a report of format {report.get('format')!r}; this version draws {FORMAT}")
    try:
        return document(_page(report))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"the report is damaged ({error!r}); evaluate the model again") from error


def _page(report: Mapping[str, Any]) -> Element:
    parts = [part for build in PARTS if (part := build(report)) is not None]
    title = answers.title(report)
    style = (files(__package__) / "style.css").read_text(encoding="utf-8")
    return node(
        "html",
        node(
            "head",
            node("meta", charset="utf-8"),
            node("meta", name="viewport", content="width=device-width, initial-scale=1"),
            node("meta", name="color-scheme", content="light dark"),
            node("meta", http_equiv="Content-Security-Policy", content=POLICY),
            node("title", title),
            node("style", style),
        ),
        node("body", answers.headline(report, title), _contents(parts), node("main", *parts)),
        lang="en",
    )


def _contents(parts: list[Element]) -> Element:
    links = [node("li", node("a", part[0].text, href="#" + part.attrib["id"])) for part in parts]
    return node("nav", node("ol", *links), aria_label="Contents")
