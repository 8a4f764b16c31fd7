"""From a step's Liquid source and a subscriber to the words of one mail: subject, HTML part, text part."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from inscriptis import get_text  # type: ignore[import-untyped]
from inscriptis.model.config import ParserConfig  # type: ignore[import-untyped]

from mailement_mailer.sandbox import Sandbox, TemplateFault
from mailement_mailer.text import many_lines, one_line
from mailement_newsletter.queries.messages import Recipient, SendingBrand, StepContent

_BODY_BYTES: Final = 1_000_000
_SUBJECT_BYTES: Final = 2_000
_BODY_END: Final = re.compile(r"</body\s*>", re.IGNORECASE)
_TEXT_LINKS: Final = ParserConfig(display_links=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the recipient reads. `subject` is one line; `html` is None for a text only mail."""

    subject: str
    html: str | None
    text: str


class Renderer:
    """Keeps parsed templates; may be used by several threads."""

    def __init__(self) -> None:
        self._html = Sandbox(autoescape=True, output_bytes=_BODY_BYTES)
        self._text = Sandbox(autoescape=False, output_bytes=_BODY_BYTES)
        self._subject = Sandbox(autoescape=False, output_bytes=_SUBJECT_BYTES)

    def render(
        self, content: StepContent, recipient: Recipient, brand: SendingBrand, unsubscribe_url: str
    ) -> Words:
        """Both parts carry the unsubscribe link, whatever the templates say. Raises TemplateFault."""
        values = _merge_fields(recipient, brand, unsubscribe_url)
        html = None if content.html is None else self._html_part(content.html, values, unsubscribe_url)
        return Words(
            subject=one_line(self._subject.render(content.subject, values)),
            html=html,
            text=self._text_part(content.text, values, html, unsubscribe_url),
        )

    def _html_part(self, source: str, values: Mapping[str, object], unsubscribe_url: str) -> str:
        html = many_lines(self._html.render(source, values))
        return html if escape(unsubscribe_url) in html else _with_html_footer(html, unsubscribe_url)

    def _text_part(
        self, source: str | None, values: Mapping[str, object], html: str | None, unsubscribe_url: str
    ) -> str:
        if source is not None:
            text = many_lines(self._text.render(source, values))
        elif html is not None:
            text = _text_of(html)
        else:
            raise TemplateFault("there is neither html nor text")
        return text if unsubscribe_url in text else _with_text_footer(text, unsubscribe_url)


def _merge_fields(recipient: Recipient, brand: SendingBrand, unsubscribe_url: str) -> dict[str, object]:
    person = {
        "email": recipient.email,
        "first_name": recipient.first_name,
        "last_name": recipient.last_name,
        "city": recipient.city,
        "custom_fields": dict(recipient.custom_fields),
    }
    return {
        **person,
        "subscriber": {**person, "id": recipient.id},
        "brand": {"name": brand.name, "slug": brand.slug},
        "unsubscribe_url": unsubscribe_url,
    }


def _text_of(html: str) -> str:
    try:
        return many_lines(str(get_text(html, _TEXT_LINKS))).strip() + "\n"
    except Exception as error:
        # HTML of any shape comes here; a converter that gives up is the template's fault.
        raise TemplateFault(f"no text can be made of the html: {type(error).__name__}") from error


def _with_html_footer(html: str, unsubscribe_url: str) -> str:
    footer = (
        '<p style="margin-top:2em;font-size:12px;color:#666">'
        f'<a href="{escape(unsubscribe_url)}">Unsubscribe</a></p>\n'
    )
    ends = list(_BODY_END.finditer(html))
    if not ends:
        return f"{html}\n{footer}"
    end = ends[-1].start()
    return f"{html[:end]}{footer}{html[end:]}"


def _with_text_footer(text: str, unsubscribe_url: str) -> str:
    return f"{text.rstrip()}\n\n-- \nUnsubscribe: {unsubscribe_url}\n"
