"""Check mails before they are saved: whether they can be rendered. Within a time, whatever somebody has written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from mailement_newsletter.content.check import Severity, check_content
from mailement_newsletter.errors import DripFault
from mailement_newsletter.rules.drip_definition import Send

# For all mails of a drip. The last one that is begun may take some seconds more, and callers wait twenty.
_SECONDS: Final = 10.0
_MOST_ERRORS: Final = 50
# Rendering is nothing but work for the processor: more at once would take it from all other requests. A pool of its own,
# since that of the event loop looks up host names too.
_THREADS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="check-mails")


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    errors: list[DripFault] = field(default_factory=list)
    warnings: list[DripFault] = field(default_factory=list)


async def check_mails(
    mails: Sequence[tuple[int, Send]], fields: frozenset[str], *, seconds: float = _SECONDS
) -> Findings:
    """Each mail with the number of its step; `fields`: keys of the brand's custom fields.

    After `seconds`, or some fifty errors, the mails that are left are not looked at; neither goes without an error.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _check, mails, fields, seconds)


def _check(mails: Sequence[tuple[int, Send]], fields: frozenset[str], seconds: float) -> Findings:
    until = time.monotonic() + seconds
    found = Findings()
    for number, mail in mails:
        if len(found.errors) >= _MOST_ERRORS:
            break
        if time.monotonic() >= until:
            told = f"too costly: the mails before this one take more than {seconds:g} seconds to render"
            found.errors.append(DripFault(f"steps.{number}", told))
            break
        for fault in check_content(mail.subject, mail.html, mail.text, fields=fields):
            told = fault.message if fault.line is None else f"line {fault.line}: {fault.message}"
            told_as = found.errors if fault.severity is Severity.ERROR else found.warnings
            told_as.append(DripFault(f"steps.{number}.{fault.part}", told))
    return found
