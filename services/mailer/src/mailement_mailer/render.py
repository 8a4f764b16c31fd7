"""From a step's source and a subscriber to the words of one mail: subject, HTML part, text part."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from mailement_mailer.plain import PlainText
from mailement_mailer.text import many_lines, one_line
from mailement_newsletter.content.fields import merge_fields
from mailement_newsletter.content.sandbox import TemplateFault
from mailement_newsletter.content.styles import inlined
from mailement_newsletter.content.templates import Templates
from mailement_newsletter.queries.messages import Recipient, SendingBrand, StepContent

_BODY_END: Final = re.compile(r"</body\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the recipient reads. `subject` is one line; `html` is None for a text only mail."""

    subject: str
    html: str | None
    text: str


class Renderer:
    """Keeps what was made of each source; may be used by several threads."""

    def __init__(self) -> None:
        self._templates = Templates()
        self._plain = PlainText(self._templates)

    def render(
        self,
        content: StepContent,
        recipient: Recipient,
        brand: SendingBrand,
        unsubscribe_url: str,
        *,
        with_footer: bool = True,
    ) -> Words:
        """`with_footer`: both parts carry the unsubscribe link, whatever the templates say. Raises TemplateFault."""
        values = _values(recipient, brand, unsubscribe_url)
        html = None if content.html is None else self._html_part(content.html, values)
        text = many_lines(self._text_part(content, values, html))
        if with_footer:
            text = _with_text_footer(text, unsubscribe_url)
            html = None if html is None else _with_html_footer(html, unsubscribe_url)
        return Words(
            subject=one_line(self._templates.subject.render(content.subject, values)), html=html, text=text
        )

    def _html_part(self, source: str, values: Mapping[str, object]) -> str:
        return inlined(many_lines(self._templates.render_html(source, values)))

    def _text_part(self, content: StepContent, values: Mapping[str, object], html: str | None) -> str:
        if content.text is not None:
            return self._templates.text.render(content.text, values)
        if content.html is None or html is None:
            raise TemplateFault("there is neither html nor text")
        return self._plain.render(self._templates.html_source(content.html), values, html)


def _values(recipient: Recipient, brand: SendingBrand, unsubscribe_url: str) -> dict[str, object]:
    return merge_fields(
        person={
            "email": recipient.email,
            "first_name": recipient.first_name,
            "last_name": recipient.last_name,
            "city": recipient.city,
        },
        custom_fields=recipient.custom_fields,
        subscriber_id=recipient.id,
        brand={"name": brand.name, "slug": brand.slug},
        unsubscribe_url=unsubscribe_url,
    )


def _with_html_footer(html: str, unsubscribe_url: str) -> str:
    if escape(unsubscribe_url) in html:
        return html
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
    if unsubscribe_url in text:
        return text
    return f"{text.rstrip()}\n\n-- \nUnsubscribe: {unsubscribe_url}\n"
