"""Figures as people read them.

>>> percent(0.99672), count(10000), p_value(0.00531)
('99.67 %', '10,000', 'p = 0.0053')
"""

from __future__ import annotations

NARROW = "\N{NARROW NO-BREAK SPACE}"
SURE = f"95{NARROW}%"  # of every interval


def percent(share: float | None, digits: int = 2) -> str:
    """Write a share of 1 in per cent; a dash where there is none."""
    return "–" if share is None else f"{share * 100:.{digits}f}{NARROW}%"


def interval(low: float, high: float, digits: int = 2) -> str:
    """Write the ends of an interval in per cent."""
    return f"{low * 100:.{digits}f}–{percent(high, digits)}"


def points(difference: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return f"{difference * 100:+.2f}".replace("-", "\N{MINUS SIGN}")


def count(number: float) -> str:
    """Write a whole number with commas."""
    return f"{number:,.0f}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write a number with the thing it counts, in the singular or the plural."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def decimal(figure: float) -> str:
    """Write a figure with three significant digits."""
    return f"{figure:.3g}" if abs(figure) >= 1e-4 or figure == 0 else f"{figure:.1e}"


def p_value(p: float) -> str:
    """Write a p-value with two significant digits, tiny ones as a bound."""
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def chance(p: float) -> str:
    """Write a p-value as part of a sentence: "a chance of …"."""
    return f"{p:.2g}" if p >= 1e-4 else "less than 0.0001"


def size(size_bytes: float) -> str:
    """Write a size in kB (of 1,000 bytes), or in MB from a million."""
    if size_bytes >= 1_000_000:
        return f"{size_bytes / 1_000_000:.2f} MB"
    return f"{size_bytes / 1000:.1f} kB"
