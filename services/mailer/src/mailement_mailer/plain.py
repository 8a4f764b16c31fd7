"""The text part of a mail that has none of its own, made of its HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from inscriptis import get_text  # type: ignore[import-untyped]
from inscriptis.model.config import ParserConfig  # type: ignore[import-untyped]

from mailement_newsletter.content.cache import SourceCache
from mailement_newsletter.content.markup import LIQUID
from mailement_newsletter.content.sandbox import TemplateFault
from mailement_newsletter.content.templates import Templates

_LINKS: Final = ParserConfig(display_links=True)
_SOURCE_CHARACTERS: Final = 8_000_000

# Liquid that may make HTML, or that means something else where nothing is escaped.
_OF_HTML: Final = re.compile(r"[<&]|newline_to_br|escape|strip_html|\bsafe\b")
# Letters of a private area: no HTML says anything with them, and a source that has them goes the long way.
_BEGIN: Final = "\ue0f0"
_END: Final = "\ue0f1"
_PLACE: Final = re.compile(rf"{_BEGIN}(\d+){_END}")


class PlainText:
    """Turns a source into a text template once, where Liquid only inserts values; else each mail for itself."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates
        self._text_source = SourceCache(_text_source, characters=_SOURCE_CHARACTERS)

    def render(self, source: str, values: Mapping[str, object], html: str) -> str:
        """`source`: HTML with Liquid in it; `html`: what was rendered of it. Raises TemplateFault."""
        text_source = self._text_source(source)
        if text_source is None:
            return text_of(html)
        return _tidied(self._templates.text.render(text_source, values))


def text_of(html: str) -> str:
    """Raises TemplateFault."""
    try:
        text = str(get_text(html, _LINKS))
    except Exception as error:
        # HTML of any shape comes here; a converter that gives up is the template's fault.
        raise TemplateFault(f"no text can be made of the html: {type(error).__name__}") from error
    return _tidied(text)


def _text_source(source: str) -> str | None:
    """A text template that says what this HTML template says; None if only the finished HTML can tell."""
    liquid = [found[0] for found in LIQUID.finditer(source)]
    if _BEGIN in source or any(_decides(each) for each in liquid):
        return None
    numbers = iter(range(len(liquid)))
    text = text_of(LIQUID.sub(lambda _: f"{_BEGIN}{next(numbers)}{_END}", source))
    if "{{" in text or "{%" in text:
        return None
    return _PLACE.sub(lambda found: liquid[int(found[1])], text)


def _tidied(text: str) -> str:
    return "\n".join(line.rstrip(" \t") for line in text.split("\n")).strip() + "\n"


def _decides(liquid: str) -> bool:
    return liquid.startswith("{%") or _OF_HTML.search(liquid) is not None
