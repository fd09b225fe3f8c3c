"""Text for people: made safe to print, laid out in tables, and figures as they are written.

    >>> percent(0.99672), count(10000), p_value(0.00531)
    ('99.67%', '10,000', 'p = 0.0053')

What comes from outside (a file's name, a bundle's manifest, another program's message) is text
that may steer a terminal or turn into markup. It is made harmless here, and nowhere else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# What Markdown and HTML give a meaning, and what makes an address a link without any.
MARKUP = re.compile(r"([\\`*_{}\[\]<>|#!~&]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def printable(text: str) -> str:
    """Replace every character that could break a line or steer a terminal by a question mark."""
    return "".join(c if c.isprintable() else "?" for c in text)


def escape_markdown(text: str) -> str:
    """Escape every character that Markdown or HTML gives a meaning, and break links and mentions.

    A backslash does not keep `@` from naming somebody, or being an address; a comment does.
    """
    return MARKUP.sub(r"\\\1", text).replace("@", "@<!-- -->")


def without_password(text: str) -> str:
    """Remove user and password from the addresses in a text, also passwords that hold a slash."""
    return re.sub(r"//\S*@", "//", text)


def first_line(error: BaseException) -> str:
    """Return the first line of another program's message, printable, at most 200 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(without_password(lines[0]))[:200]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows of cells in aligned columns, a line each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return lines


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out rows of cells as a Markdown table, a line each, every cell escaped."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return [*lines, *(f"| {' | '.join(map(escape_markdown, row))} |" for row in rows)]


# ---- figures


def percent(share: float | None, digits: int = 2) -> str:
    """Format a share of 1 in per cent; a dash where there is none."""
    return "–" if share is None else f"{share * 100:.{digits}f}%"


def interval(low: float, high: float, digits: int = 2) -> str:
    """Format the 95 % interval of a share of 1, in per cent."""
    return f"95% interval {low * 100:.{digits}f}–{high * 100:.{digits}f}"


def points(difference: float) -> str:
    """Format a difference of shares in percentage points, with its sign."""
    return f"{difference * 100:+.2f}".replace("-", "\N{MINUS SIGN}")


def points_interval(low: float, high: float) -> str:
    """Format the 95 % interval of a difference of shares, in percentage points."""
    return f"95% interval {points(low)} to {points(high)}"


def count(number: float) -> str:
    """Format a whole number with commas."""
    return f"{number:,.0f}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Format a number with the thing it counts, in the singular or the plural."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def decimal(figure: float) -> str:
    """Format a figure with three significant digits."""
    return f"{figure:.3g}" if abs(figure) >= 1e-4 or figure == 0 else f"{figure:.1e}"


def p_value(p: float) -> str:
    """Format a p-value with two significant digits, tiny ones as a bound."""
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def size(size_bytes: float) -> str:
    """Format a size in kB (of 1,000 bytes), or in MB from a million."""
    if size_bytes >= 1_000_000:
        return f"{size_bytes / 1_000_000:.2f} MB"
    return f"{size_bytes / 1000:.1f} kB"
