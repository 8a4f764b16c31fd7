"""Runs as they lie in the database, read for the lists of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.commands import Who
from mailement_newsletter.errors import SubscriberNotFound
from mailement_newsletter.ids import RunId
from mailement_newsletter.rules.drip_runs import Run, RunState
from mailement_newsletter.usecases.drip_rows import Executor
from mailement_newsletter.usecases.who import identifiers

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """`cursor` leads to the next page; None: this is the last. A page may be short, or empty, and have one."""

    runs: Sequence[Run]
    cursor: str | None


async def load_runs(executor: Executor, ids: Sequence[RunId]) -> list[Run]:
    """In the order of their ids; what is not there is left out."""
    if not ids:
        return []
    return [
        Run(**{**dict(row.items()), "state": RunState(row["state"])})
        for row in await executor.fetch(SQL["runs"], ids)
    ]


async def subscriber_meant(executor: Executor, brand: BrandId, who: Who) -> SubscriberId:
    """Raises SubscriberNotFound."""
    found = await executor.fetchval(SQL["subscriber"], brand, *identifiers(who))
    if found is None:
        raise SubscriberNotFound
    return SubscriberId(found)
