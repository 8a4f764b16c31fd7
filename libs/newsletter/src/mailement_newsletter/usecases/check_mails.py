"""Check mails before they are saved: whether they can be rendered. Within a time, whatever somebody has written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

from mailement_common.ids import BrandId
from mailement_newsletter.content.check import Severity, check_content
from mailement_newsletter.errors import DripFault, TooBusy
from mailement_newsletter.rules.drip_definition import Send

# For all mails of a drip. The last one that is begun may take some seconds more, and callers wait twenty.
_SECONDS: Final = 10.0
# For the turn before that. Waiting is no fault of the mails, so it is not taken from their time.
_PATIENCE_SECONDS: Final = 5.0
_MOST_ERRORS: Final = 50
# Rendering is nothing but work for the processor: more at once would take it from all other requests. A pool of its own,
# since that of the event loop looks up host names too.
_THREADS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="check-mails")
# Of each brand one at a time: whatever it saves at once leaves the other thread to others.
_UNDER_WAY: Final[WeakValueDictionary[BrandId, Future[Findings]]] = WeakValueDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    errors: list[DripFault] = field(default_factory=list)
    warnings: list[DripFault] = field(default_factory=list)


async def check_mails(
    brand: BrandId,
    mails: Sequence[tuple[int, Send]],
    fields: frozenset[str],
    *,
    seconds: float = _SECONDS,
    patience: float = _PATIENCE_SECONDS,
) -> Findings:
    """Each mail with the number of its step; `fields`: keys of the brand's custom fields.

    After `seconds`, or some fifty errors, the mails that are left are not looked at; neither goes without an error.
    Raises TooBusy: they could not be begun within `patience` seconds.
    """
    if not mails:
        return Findings()
    until = time.monotonic() + patience
    while (other := _UNDER_WAY.get(brand)) is not None and not other.done():
        if not await _is_done(other, until):
            raise TooBusy
    work = _UNDER_WAY[brand] = _THREADS.submit(_check, mails, fields, seconds)
    try:
        if not await _is_done(work, until) and work.cancel():
            raise TooBusy
        return await asyncio.wrap_future(work)
    finally:
        # Not begun, if nobody waits for it any more.
        work.cancel()


async def _is_done(work: Future[Findings], until: float) -> bool:
    """Waits for it, up to a moment of the monotonic clock."""
    await asyncio.wait([asyncio.wrap_future(work)], timeout=until - time.monotonic())
    return work.done()


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
