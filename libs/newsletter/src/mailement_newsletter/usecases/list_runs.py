"""List the runs of a drip, in pages, in the order of their subscribers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.commands import Who
from mailement_newsletter.errors import BadCursor
from mailement_newsletter.ids import DripId, RunId
from mailement_newsletter.rules.drip_runs import RunState
from mailement_newsletter.usecases.drip_rows import Executor, require_drip
from mailement_newsletter.usecases.run_rows import RunPage, load_runs, subscriber_meant

SQL: Final = queries_beside(__file__)

# Whoever looks for what there is hardly any of goes through the others in so many pages.
_MOST_LOOKED_AT: Final = 10_000
_CURSOR: Final = re.compile(r"(?P<subscriber>[0-9]{1,18})\.(?P<run>[0-9]{1,5})", re.ASCII)
_MOST_RUNS: Final = 32_767
_BIGGEST_ID: Final = 2**63 - 1


async def list_runs(
    executor: Executor,
    brand: BrandId,
    drip: DripId,
    *,
    state: RunState | None = None,
    who: Who | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> RunPage:
    """Raises DripNotFound, SubscriberNotFound, BadCursor."""
    await require_drip(executor, brand, drip)
    place = (0, 0) if cursor is None else _place(cursor)
    last_subscriber = _BIGGEST_ID
    if who is not None:
        last_subscriber = await subscriber_meant(executor, brand, who)
        place = max(place, (last_subscriber, 0))
    elif state is RunState.FAILED:
        rows = await executor.fetch(SQL["failed"], drip, *place, limit + 1)
        return await _page(executor, rows, limit, None)
    looks_at = limit + 1 if state is None else _MOST_LOOKED_AT
    rows = await executor.fetch(SQL["page"], drip, *place, state, limit + 1, looks_at, last_subscriber)
    end = None
    if len(rows) <= limit and state is not None:
        last = await executor.fetchrow(SQL["last_looked_at"], drip, *place, looks_at, last_subscriber)
        end = None if last is None else _cursor(last)
    return await _page(executor, rows, limit, end)


async def _page(executor: Executor, rows: Sequence[asyncpg.Record], limit: int, end: str | None) -> RunPage:
    """`end`: where looking stopped though the page is not full."""
    return RunPage(
        runs=await load_runs(executor, [RunId(row["id"]) for row in rows[:limit]]),
        cursor=_cursor(rows[limit - 1]) if len(rows) > limit else end,
    )


def _cursor(row: asyncpg.Record) -> str:
    return f"{row['subscriber_id']}.{row['run_no']}"


def _place(cursor: str) -> tuple[int, int]:
    found = _CURSOR.fullmatch(cursor)
    if found is None or int(found["run"]) > _MOST_RUNS:
        raise BadCursor
    return int(found["subscriber"]), int(found["run"])
