"""HTML and SVG as a tree, so that text can never turn into markup.

    >>> print(document(node("p", "1 < 2", class_="note")))
    <!doctype html>
    <p class="note">1 &lt; 2</p>

The standard library's ElementTree does the writing: whatever comes from outside is text or an
attribute's value, both escaped in one place, and every tag is closed. That is all a template
language would be wanted for here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import category
from xml.etree.ElementTree import Element, tostring

if TYPE_CHECKING:
    from collections.abc import Iterable

    Child = Element | str | None


def node(tag: str, *children: Child, **attributes: object) -> Element:
    """Make an element.

    Args:
        tag: its name.
        children: elements and text, in order; None is left out.
        attributes: a trailing underscore is dropped (`class_`), others become hyphens
            (`aria_label`); None is left out.
    """
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    element = Element(
        tag,
        {names[name]: _printable(str(v)) for name, v in attributes.items() if v is not None},
    )
    for child in children:
        if isinstance(child, str):
            _append_text(element, _printable(child))
        elif child is not None:
            element.append(child)
    return element


def table(
    caption: str, heads: Iterable[str], rows: Iterable[Iterable[str]], **attributes: object
) -> Element:
    """Make a table whose first column names its rows."""
    return node(
        "table",
        node("caption", caption),
        node("thead", node("tr", *(node("th", head, scope="col") for head in heads))),
        node("tbody", *(_row(*cells) for cells in rows)),
        **attributes,
    )


def section(name: str, heading: str, *children: Element | str) -> Element:
    """Make a section that links can lead to (`#name`); a string becomes a paragraph."""
    parts = [node("p", child) if isinstance(child, str) else child for child in children]
    return node("section", node("h2", heading), *parts, id=name)


def scrolling(content: Element, name: str) -> Element:
    """Let what is too wide for a screen scroll sideways by itself, by keyboard too."""
    return node("div", content, class_="wide", role="region", aria_label=name, tabindex=0)


def document(root: Element) -> str:
    """Write a tree as an HTML document."""
    return f"<!doctype html>\n{tostring(root, encoding='unicode', method='html')}\n"


def _row(head: str, *cells: str) -> Element:
    return node("tr", node("th", head, scope="row"), *(node("td", cell) for cell in cells))


def _append_text(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def _printable(text: str) -> str:
    """Replace what a page cannot hold or show: control characters, halves of surrogate pairs."""
    return "".join(
        c if c in "\n\t" or category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
