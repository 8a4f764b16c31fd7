"""List the runs of a drip, in pages, in the order of their subscribers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.commands import Who
from mailement_newsletter.errors import BadCursor, SubscriberNotFound
from mailement_newsletter.ids import DripId
from mailement_newsletter.rules.drip_runs import Run, RunState
from mailement_newsletter.usecases.drip_rows import Executor, load_drip
from mailement_newsletter.usecases.who import identifiers

SQL: Final = queries_beside(__file__)

# Whoever looks for what there is hardly any of goes through the others in so many pages.
_MOST_LOOKED_AT: Final = 10_000
_CURSOR: Final = re.compile(r"(?P<subscriber>[0-9]{1,18})\.(?P<run>[0-9]{1,4})", re.ASCII)
_MOST_RUNS: Final = 32_767
_BIGGEST_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """`cursor` leads to the next page; None: this is the last. A page may be short, or empty, and have one."""

    runs: Sequence[Run]
    cursor: str | None


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
    await load_drip(executor, brand, drip)
    place = (0, 0) if cursor is None else _place(cursor)
    last_subscriber = _BIGGEST_ID
    if who is not None:
        last_subscriber = await _subscriber(executor, brand, who)
        place = max(place, (last_subscriber, 0))
    elif state is RunState.FAILED:
        rows = await executor.fetch(SQL["failed"], drip, *place, limit + 1)
        return _page(rows, limit, None)
    looks_at = limit + 1 if state is None else _MOST_LOOKED_AT
    rows = await executor.fetch(SQL["page"], drip, *place, state, limit + 1, looks_at, last_subscriber)
    end = None
    if len(rows) <= limit and state is not None:
        last = await executor.fetchrow(SQL["last_looked_at"], drip, *place, looks_at, last_subscriber)
        end = None if last is None else _cursor(last)
    return _page(rows, limit, end)


async def _subscriber(executor: Executor, brand: BrandId, who: Who) -> SubscriberId:
    found = await executor.fetchval(SQL["subscriber"], brand, *identifiers(who))
    if found is None:
        raise SubscriberNotFound
    return SubscriberId(found)


def _page(rows: Sequence[asyncpg.Record], limit: int, end: str | None) -> RunPage:
    """`end`: where looking stopped though the page is not full."""
    return RunPage(
        runs=[run_of(row) for row in rows[:limit]],
        cursor=_cursor(rows[limit - 1]) if len(rows) > limit else end,
    )


def run_of(row: asyncpg.Record) -> Run:
    fields = {name: row[name] for name in Run.__dataclass_fields__}
    return Run(**{**fields, "state": RunState(row["state"])})


def _cursor(row: asyncpg.Record) -> str:
    return f"{row['subscriber_id']}.{row['run_no']}"


def _place(cursor: str) -> tuple[int, int]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise BadCursor
    return int(found["subscriber"]), min(int(found["run"]), _MOST_RUNS)
