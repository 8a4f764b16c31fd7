"""The three kinds of template that a mail is made of, each within its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mailement_newsletter.content import mjml
from mailement_newsletter.content.cache import SourceCache
from mailement_newsletter.content.sandbox import Sandbox

_BODY_BYTES: Final = 1_000_000
_SUBJECT_BYTES: Final = 2_000
_COMPILED_CHARACTERS: Final = 8_000_000


class Templates:
    """Keeps what was compiled and parsed; may be used by several threads."""

    def __init__(self) -> None:
        self.subject: Final = Sandbox(autoescape=False, output_bytes=_SUBJECT_BYTES)
        self.html: Final = Sandbox(autoescape=True, output_bytes=_BODY_BYTES)
        self.text: Final = Sandbox(autoescape=False, output_bytes=_BODY_BYTES)
        self.html_source: Final = SourceCache(html_source, characters=_COMPILED_CHARACTERS)

    def render_html(self, source: str, values: Mapping[str, object]) -> str:
        """Of HTML or MJML, with its style sheets not yet written into the elements. Raises TemplateFault."""
        return self.html.render(self.html_source(source), values)


def html_source(source: str) -> str:
    """HTML with Liquid in it, of HTML or MJML. Raises TemplateFault."""
    return mjml.to_html(source) if mjml.is_mjml(source) else source
