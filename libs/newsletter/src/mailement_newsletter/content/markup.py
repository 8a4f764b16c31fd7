"""The pieces of HTML or MJML that has Liquid in it, found in one pass, whatever the text is.

Nothing is parsed that need not be: what is not looked for stays as it was written. Each pattern either fails at its
first characters or reaches its end, at the latest the text's, so that no text makes a search slower than linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_LIQUID: Final = r"\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z)"
_QUOTED: Final = rf'"(?:[^"{{]++|{_LIQUID}|\{{)*+(?:"|\Z)' + "|" + rf"'(?:[^'{{]++|{_LIQUID}|\{{)*+(?:'|\Z)"
# Quotes mean something behind `=` only, as in HTML's own grammar.
_INSIDE_TAG: Final = rf"(?:[^>={{]++|{_LIQUID}|\{{|=\s*+(?:{_QUOTED})?+)*+(?:>|\Z)"

LIQUID: Final = re.compile(_LIQUID, re.DOTALL)

_PIECE: Final = re.compile(
    rf"(?P<liquid>{_LIQUID})"
    # What stands between conditional comments is read as the mail programs of Microsoft read it.
    r"|(?P<comment><!--\[if[^\]>]*\]>|<!\[endif\](?:--)?>|<!--(?:-?>|.*?(?:--!?>|\Z)))"
    rf"|(?P<raw><(?P<raw_name>style|script|textarea|title)(?=[\s/>]){_INSIDE_TAG}"
    r".*?(?:</(?P=raw_name)(?=[\s/>])[^>]*(?:>|\Z)|\Z))"
    r"|(?P<close></(?P<close_name>[a-zA-Z][^\s/>]*)[^>]*(?:>|\Z))"
    rf"|(?P<open><(?P<open_name>[a-zA-Z][^\s/>{{]*){_INSIDE_TAG})",
    re.DOTALL | re.IGNORECASE,
)
_ATTRIBUTE: Final = re.compile(
    rf"(?P<liquid>{_LIQUID})"
    r"|(?P<name>[^\s=>\"'/{]++)(?:\s*+=\s*+(?:"
    rf'"(?P<double>(?:[^"{{]++|{_LIQUID}|\{{)*+)"'
    rf"|'(?P<single>(?:[^'{{]++|{_LIQUID}|\{{)*+)'"
    r"|(?P<bare>[^\s>\"']++)))?+",
    re.DOTALL,
)

_VOID: Final = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()  # noqa: SIM905  easier to read
)


class Kind(StrEnum):
    LIQUID = "liquid"
    COMMENT = "comment"
    # An element whose content is no markup: style, script, textarea, title.
    RAW = "raw"
    OPEN = "open"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Piece:
    """`name`: of the element, in lower case; empty for Liquid and comments."""

    kind: Kind
    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """`start` and `end` enclose the value, without its quotes."""

    name: str
    value: str
    start: int
    end: int


def pieces(source: str) -> Iterator[Piece]:
    """In the order of the text; what lies between them is text."""
    for found in _PIECE.finditer(source):
        kind = Kind(str(found.lastgroup))
        name = found[f"{kind}_name"] if kind in {Kind.RAW, Kind.OPEN, Kind.CLOSE} else ""
        yield Piece(kind, name.lower(), found.start(), found.end())


def attributes(source: str, tag: Piece) -> Iterator[Attribute]:
    """Those with a value."""
    for found in _ATTRIBUTE.finditer(source, tag.start + 1 + len(tag.name), tag.end):
        group = found.lastgroup
        if group not in {"double", "single", "bare"}:
            continue
        start, end = found.span(group)
        yield Attribute(found["name"].lower(), source[start:end], start, end)


def has_loose_liquid(source: str, tag: Piece) -> bool:
    """Whether there is Liquid between the attributes."""
    places = _ATTRIBUTE.finditer(source, tag.start + 1 + len(tag.name), tag.end)
    return any(found.lastgroup == "liquid" for found in places)


def is_void(name: str) -> bool:
    """Whether an element of HTML has no end tag."""
    return name in _VOID


def line_of(source: str, place: int) -> int:
    """The line that this character stands on, from 1."""
    return source.count("\n", 0, place) + 1
