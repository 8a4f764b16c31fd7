"""Look through the endpoints for those that have something to send, or will."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor
from mailement_webhooks.ids import EndpointId, Shard

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """`due`: seconds until an endpoint's first delivery is due; 0 or less: it is. `last` None: there are no more."""

    due: Mapping[EndpointId, float]
    last: EndpointId | None


async def find_due(executor: Executor, *, shards: Collection[Shard], after: EndpointId, limit: int) -> Swept:
    """The next `limit` enabled endpoints of the shards, in order of their ids."""
    rows = await executor.fetch(SQL["sweep"], list(shards), after, limit)
    return Swept(
        due={EndpointId(row["id"]): row["due_in"] for row in rows if row["due_in"] is not None},
        last=EndpointId(rows[-1]["id"]) if len(rows) == limit else None,
    )
