"""List replays, or show one."""

from __future__ import annotations

from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.errors import ReplayNotFound
from mailement_webhooks.ids import EndpointId, ReplayId, Sequence
from mailement_webhooks.replays import Replay, ReplayFilter, ReplayState

SQL: Final = queries_beside(__file__)

_NEWEST: Final = ReplayId(2**63 - 1)


async def list_replays(
    executor: Executor,
    *,
    brand_id: BrandId | None = None,
    endpoint_id: EndpointId | None = None,
    limit: int = 50,
    before: ReplayId | None = None,
) -> list[Replay]:
    """The newest first; `before` is the last id of the page before."""
    rows = await executor.fetch(SQL["list"], brand_id, endpoint_id, before or _NEWEST, limit)
    return [_replay(row) for row in rows]


async def show_replay(executor: Executor, replay_id: ReplayId, *, brand_id: BrandId | None = None) -> Replay:
    """`brand_id`: only if its endpoint is this brand's own. Raises ReplayNotFound."""
    row = await executor.fetchrow(SQL["show"], brand_id, replay_id)
    if row is None:
        raise ReplayNotFound(replay_id)
    return _replay(row)


def _replay(row: asyncpg.Record) -> Replay:
    return Replay(
        id=ReplayId(row["id"]),
        endpoint_id=EndpointId(row["endpoint_id"]),
        brand_id=None if row["brand_id"] is None else BrandId(row["brand_id"]),
        filter=ReplayFilter(
            types=None if row["types"] is None else tuple(row["types"]),
            outcomes=None if row["outcomes"] is None else tuple(map(DeliveryState, row["outcomes"])),
            occurred_from=row["occurred_from"],
            occurred_until=row["occurred_until"],
        ),
        rate_per_second=row["rate_per_second"],
        state=ReplayState(row["state"]),
        total=row["total"],
        total_is_exact=row["total_is_exact"],
        enqueued=row["enqueued"],
        delivered=row["delivered"],
        failed=row["failed"],
        at_sequence=Sequence(row["at_sequence"]),
        through_sequence=Sequence(row["through_sequence"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        finished_at=row["finished_at"],
    )
