"""MJML to HTML, before Liquid sees it: what Liquid has to say passes through untouched."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from mjml import mjml2html

from mailement_newsletter.content.markup import (
    LIQUID,
    Kind,
    Piece,
    attributes,
    has_loose_liquid,
    is_void,
    line_of,
    pieces,
)
from mailement_newsletter.content.native import asked
from mailement_newsletter.content.sandbox import TemplateFault
from mailement_newsletter.content.spelling import meant

_DEEPEST: Final = 100
_SOURCE_CHARACTERS: Final = 500_000
_HTML_CHARACTERS: Final = 1_000_000

# Elements that have elements in them, and no text: between these a Liquid tag needs a place of its own.
_FRAMES: Final = frozenset({"mj-body", "mj-wrapper", "mj-section", "mj-group", "mj-column", "mj-hero"})
_ELEMENTS: Final = frozenset(
    {
        *_FRAMES,
        *(
            "mjml",
            "mj-head",
            "mj-attributes",
            "mj-all",
            "mj-class",
            "mj-breakpoint",
            "mj-font",
            "mj-html-attributes",
        ),
        *("mj-selector", "mj-html-attribute", "mj-preview", "mj-style", "mj-title", "mj-accordion"),
        *("mj-accordion-element", "mj-accordion-text", "mj-accordion-title", "mj-button", "mj-carousel"),
        *(
            "mj-carousel-image",
            "mj-divider",
            "mj-image",
            "mj-navbar",
            "mj-navbar-link",
            "mj-raw",
            "mj-social",
        ),
        *("mj-social-element", "mj-spacer", "mj-table", "mj-text"),
    }
)
_POSITION: Final = re.compile(r" in root template(?: at position (\d+):\d+)?$")


def is_mjml(source: str) -> bool:
    """Whether the first element is `mjml`."""
    return (root := _root(source)) is not None and root.name == "mjml"


def to_html(source: str) -> str:
    """HTML with the Liquid of the source in it. Raises TemplateFault: not MJML, too deep, or it includes something."""
    if len(source) > _SOURCE_CHARACTERS:
        raise TemplateFault(f"longer than {_SOURCE_CHARACTERS} characters")
    root = _root(source)
    if root is None:
        raise TemplateFault("there is no element mjml")
    shield = _Shield(source)
    shielded = _shielded(source, root.start, shield)
    html = shield.lowered(_compiled(shielded, shield, lines_before=source.count("\n", 0, root.start)))
    if len(html) > _HTML_CHARACTERS:
        raise TemplateFault(f"the MJML becomes more than {_HTML_CHARACTERS} characters of HTML")
    # What Liquid is told in front of the mail is no part of the mail, but must be told all the same.
    return "".join(found[0] for found in LIQUID.finditer(source, 0, root.start)) + html


class _Shield:
    """Words that no compiler minds in the places of Liquid; the digest of the source keeps them from being in it."""

    def __init__(self, source: str) -> None:
        self._mark = f"liq{hashlib.sha256(source.encode(errors='replace')).hexdigest()[:16]}x"
        self._word = re.compile(rf"{self._mark}(\d+)z")
        self._liquid: list[str] = []

    def word(self, liquid: str) -> str:
        self._liquid.append(liquid)
        return f"{self._mark}{len(self._liquid) - 1}z"

    def raised(self, text: str) -> str:
        return LIQUID.sub(lambda found: self.word(found[0]), text)

    def lowered(self, text: str) -> str:
        return self._word.sub(lambda found: self._liquid[int(found[1])], text)


class _Elements:
    """Those that are open, innermost last. What only Microsoft's programs read is a comment to everybody else."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._open: list[Piece] = []
        self._hidden = False

    @property
    def between(self) -> bool:
        """Whether only elements may stand here, and no text."""
        return bool(self._open) and self._open[-1].name in _FRAMES

    def follow(self, piece: Piece) -> None:
        """Raises TemplateFault."""
        if piece.kind is Kind.COMMENT:
            begins = self._source.startswith("<!--[if", piece.start)
            self._hidden = begins and not self._source.startswith("<!-->", piece.end)
        elif self._hidden:
            return
        elif piece.kind is Kind.OPEN:
            self._opens(piece)
        elif piece.kind is Kind.CLOSE:
            self._closes(piece)

    def end(self) -> None:
        """Raises TemplateFault."""
        if self._open:
            raise self._fault(f"{self._open[-1].name} is not closed", self._open[-1])

    def _opens(self, piece: Piece) -> None:
        if piece.name == "mj-include":
            raise self._fault("mj-include is refused: a mail is one source", piece)
        if has_loose_liquid(self._source, piece):
            raise self._fault(f"Liquid in {piece.name} stands in the quotes of a value", piece)
        for attribute in attributes(self._source, piece):
            if self._source[attribute.start - 1] not in "\"'":
                raise self._fault(f"the value of {attribute.name} stands in quotes", piece)
        if piece.name.startswith("mj") and piece.name not in _ELEMENTS:
            raise self._fault(f"there is no element {piece.name}{meant(piece.name, _ELEMENTS)}", piece)
        if is_void(piece.name) or self._source.endswith("/>", piece.start, piece.end):
            return
        self._open.append(piece)
        if len(self._open) > _DEEPEST:
            raise self._fault(f"elements are nested deeper than {_DEEPEST}", piece)

    def _closes(self, piece: Piece) -> None:
        if all(opened.name != piece.name for opened in self._open):
            raise self._fault(f"{piece.name} is closed, but not open", piece)
        opened = self._open.pop()
        if opened.name != piece.name:
            raise self._fault(f"{opened.name} is not closed", opened)

    def _fault(self, reason: str, piece: Piece) -> TemplateFault:
        return TemplateFault(reason, line=line_of(self._source, piece.start))


def _shielded(source: str, start: int, shield: _Shield) -> str:
    """The source from `start`, without Liquid. Raises TemplateFault."""
    elements = _Elements(source)
    parts: list[str] = []
    end = start
    for piece in pieces(source):
        if piece.start < start:
            continue
        words = shield.raised(source[piece.start : piece.end])
        if piece.kind is Kind.LIQUID and elements.between:
            words = f"<mj-raw>{words}</mj-raw>"
        if (stray := source.find("<", end, piece.start)) >= 0:
            raise TemplateFault("a < that begins no element is written &lt;", line=line_of(source, stray))
        elements.follow(piece)
        parts += source[end : piece.start], words
        end = piece.end
    elements.end()
    return "".join((*parts, source[end:]))


def _compiled(shielded: str, shield: _Shield, lines_before: int) -> str:
    try:
        return asked("MJML", mjml2html, shielded, few=0)
    except TemplateFault as fault:
        place = _POSITION.search(str(fault))
        if place is None or place[1] is None:
            raise TemplateFault(_POSITION.sub("", str(fault))) from fault
        before = shield.lowered(shielded[: int(place[1])])
        line = lines_before + line_of(before, len(before))
        raise TemplateFault(_POSITION.sub("", str(fault)), line=line) from fault


def _root(source: str) -> Piece | None:
    return next((piece for piece in pieces(source) if piece.kind in {Kind.OPEN, Kind.RAW}), None)
