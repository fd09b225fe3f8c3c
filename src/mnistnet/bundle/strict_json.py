"""JSON that may be anybody's: read strictly, and checked against types.

    document = parse_json(content, where)
    vectors = decode(Vectors, document, where)      # a dataclass

Every text that comes through here may be printed, and every number has one meaning.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields, is_dataclass
from itertools import chain
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from mnistnet.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CHARACTERS = 1_000_000  # of a text
MAX_DIGITS = 18  # of a whole number
MAX_DEPTH = 32  # of objects and lists in each other


def parse_json(content: bytes, where: object, *, max_characters: int = MAX_CHARACTERS) -> Any:
    """Parse JSON in UTF-8 of one meaning, whose texts may be printed.

    Refused are numbers that are not finite (NaN, Infinity, 1e999) or too large, a name that an
    object has twice, and a text that is too long or could steer a terminal.

    Raises:
        BundleError: it is not such JSON.
    """
    try:
        document = json.loads(
            content.decode(),  # bytes might be taken for UTF-16
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_without_repeats,
        )
        texts = list(_texts(document))
    except (ValueError, RecursionError) as error:
        raise damaged(where, f"is not valid JSON ({error})") from None
    for text in texts:
        if len(text) > max_characters or not text.isprintable():
            raise damaged(where, f"holds a text that is too long, or not printable: {text!a:.40}")
    return document


def decode(kind: Any, value: Any, where: object, name: str = "") -> Any:
    """Return a JSON value, or its field of a name, checked against a type.

    The type is a dataclass, `dict[str, T]`, `tuple[T, ...]`, `A | B`, or a plain one, which no
    subclass satisfies: true is no int. Fields that a dataclass does not have are ignored.

    Raises:
        BundleError: it is missing, or of another type.
    """
    if name:
        value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
    if isinstance(kind, UnionType):
        matching = (k for k in get_args(kind) if type(value) is (get_origin(k) or k))
        kind = next(matching, kind)
    if is_dataclass(kind) and isinstance(value, dict):
        missing = {f.name for f in fields(kind) if f.default is not MISSING} - value.keys()
        types = {k: t for k, t in get_type_hints(kind).items() if k not in missing}
        values = {key: decode(type_, value, where, key) for key, type_ in types.items()}
        return kind(**values)  # type: ignore[operator]
    if get_origin(kind) is dict and isinstance(value, dict):
        return {key: decode(get_args(kind)[1], value, where, key) for key in value}
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(decode(get_args(kind)[0], item, where) for item in value)
    if kind is Any or type(value) is kind or (kind is float and type(value) is int):
        return value
    what = f"has no {name!r:.40}" if name else "holds a value that is not"
    raise damaged(where, f"{what} of the right type")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield every text in a document, names included. Raises ValueError: it is too deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        if depth == MAX_DEPTH:
            raise ValueError(f"over {MAX_DEPTH} objects or lists in each other")
        for item in chain(value, value.values() if isinstance(value, dict) else ()):
            yield from _texts(item, depth + 1)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} is not a finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"{text:.20}… is too large a number")
    return int(text)


def damaged(where: object, problem: str) -> BundleError:
    """Make the error for a file that is not of the format."""
    return BundleError(f"{where}: {problem}; get the bundle again")
