"""Pause a drip: no step runs, everybody keeps place and clock, enrolments are taken; mail that is queued already leaves."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import DripArchived, DripIsADraft, DripNotFound
from mailement_newsletter.ids import DripId
from mailement_newsletter.rules.drip_definition import DripState
from mailement_newsletter.usecases.drip_rows import Executor

SQL: Final = queries_beside(__file__)


async def pause_drip(executor: Executor, brand: BrandId, drip: DripId) -> None:
    """At once, however many are enrolled; repeating it changes nothing. Raises DripNotFound, DripArchived, DripIsADraft."""
    refuse_unless_started(await executor.fetchval(SQL["pause"], drip, brand))


def refuse_unless_started(before: str | None) -> DripState:
    """The state that a drip was in, if one can pause or resume it. Raises DripNotFound, DripArchived, DripIsADraft."""
    if before is None:
        raise DripNotFound
    state = DripState(before)
    if state is DripState.ARCHIVED:
        raise DripArchived
    if state is DripState.DRAFT:
        raise DripIsADraft
    return state
