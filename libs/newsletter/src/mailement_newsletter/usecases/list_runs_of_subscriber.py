"""List the runs of a subscriber through all drips of the brand, in pages, the newest first."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.commands import Who
from mailement_newsletter.ids import RunId
from mailement_newsletter.usecases.drip_rows import Executor
from mailement_newsletter.usecases.run_rows import RunPage, load_runs, subscriber_meant

SQL: Final = queries_beside(__file__)

_BEHIND_ALL: Final = RunId(2**63 - 1)


async def list_runs_of_subscriber(
    executor: Executor, brand: BrandId, who: Who, *, limit: int = 50, before: RunId | None = None
) -> RunPage:
    """`before`: the last run of the page before. Raises SubscriberNotFound."""
    subscriber = await subscriber_meant(executor, brand, who)
    rows = await executor.fetch(SQL["page"], brand, subscriber, before or _BEHIND_ALL, limit + 1)
    ids = [RunId(row["id"]) for row in rows]
    return RunPage(
        runs=await load_runs(executor, ids[:limit]), cursor=str(ids[limit - 1]) if len(ids) > limit else None
    )
