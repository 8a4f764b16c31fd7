"""What is wrong with a mail, told when it is saved and not when it is due."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from liquid import BoundTemplate

from mailement_newsletter.content.fields import bare_values, sample_values, why_unknown
from mailement_newsletter.content.markup import line_of
from mailement_newsletter.content.sandbox import Sandbox, TemplateFault
from mailement_newsletter.content.spelling import meant
from mailement_newsletter.content.styles import inlined
from mailement_newsletter.content.templates import Templates

# Gmail shows the beginning of a larger mail, without the unsubscribe link at its end.
_CLIPPED_BYTES: Final = 102_000
_MOST_FAULTS: Final = 50


class Part(StrEnum):
    SUBJECT = "subject"
    HTML = "html"
    TEXT = "text"


class Severity(StrEnum):
    """An error makes the mail fail for everybody, or say something else than it should; a warning for some."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`line`: of the part's source, from 1, where that is known."""

    part: Part
    line: int | None
    severity: Severity
    message: str


_Render = Callable[[str, dict[str, object]], str]


def check_content(
    subject: str, html: str | None, text: str | None, *, fields: Collection[str]
) -> list[Fault]:
    """In the order of the parts and their lines, 50 at the most for each. `fields`: keys of the brand's custom fields.

    Takes milliseconds for a mail, and seconds for one that is made to take long: not for an event loop.
    """
    templates = _templates()
    if html is None and text is None:
        return [_error(Part.TEXT, "there is neither html nor text")]
    faults = _check(Part.SUBJECT, subject, templates.subject, templates.subject.render, fields)
    if html is not None:
        faults += _check(Part.HTML, html, templates.html, _rendered_html, fields)
    if text is not None:
        faults += _check(Part.TEXT, text, templates.text, templates.text.render, fields)
    return faults


@cache
def _templates() -> Templates:
    return Templates()


def _check(
    part: Part, source: str, sandbox: Sandbox, render: _Render, fields: Collection[str]
) -> list[Fault]:
    try:
        template = sandbox.parse(source)
        read = sorted(
            (
                *_unknown_filters(part, source, template, sandbox),
                *_unknown_names(part, source, template, fields),
            ),
            key=lambda fault: fault.line or 0,
        )[:_MOST_FAULTS]
    except TemplateFault as fault:
        return [_error(part, str(fault), fault.line)]
    except RecursionError:
        return [_error(part, "an expression is nested too deep")]
    return [*read, *_tried(part, source, render, fields, known=not read)]


def _unknown_filters(part: Part, source: str, template: BoundTemplate, sandbox: Sandbox) -> Iterator[Fault]:
    for name, places in template.analyze(include_partials=False).filters.items():
        if name not in sandbox.filters:
            line = line_of(source, places[0].index)
            yield _error(part, f"unknown filter {name}{meant(name, sandbox.filters)}", line)


def _unknown_names(
    part: Part, source: str, template: BoundTemplate, fields: Collection[str]
) -> Iterator[Fault]:
    analysis = template.analyze(include_partials=False)
    for names in analysis.globals.values():
        for name in {str(name): name for name in reversed(names)}.values():
            if (reason := why_unknown(name.segments, fields, analysis.locals)) is not None:
                yield _error(part, reason, line_of(source, name.span.index))


def _tried(
    part: Part, source: str, render: _Render, fields: Collection[str], *, known: bool
) -> Iterator[Fault]:
    """What a trial shows; `known`: all names are, so that nothing is told twice."""
    try:
        rendered = render(source, sample_values(fields))
    except TemplateFault as fault:
        if known or fault.line is None:
            yield _error(part, str(fault), fault.line)
        return
    size = len(rendered.encode(errors="replace"))
    if part is Part.HTML and size > _CLIPPED_BYTES:
        yield _warning(part, f"{size // 1000} KB: Gmail clips mails of more than 102 KB")
    try:
        render(source, bare_values())
    except TemplateFault as fault:
        yield _warning(part, f"fails for a subscriber who gave only an address: {fault}", fault.line)


def _rendered_html(source: str, values: dict[str, object]) -> str:
    return inlined(_templates().render_html(source, values))


def _error(part: Part, message: str, line: int | None = None) -> Fault:
    return Fault(part=part, line=line, severity=Severity.ERROR, message=message)


def _warning(part: Part, message: str, line: int | None = None) -> Fault:
    return Fault(part=part, line=line, severity=Severity.WARNING, message=message)
