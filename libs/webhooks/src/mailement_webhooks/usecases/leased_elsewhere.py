"""Count the leases that a former owner of some shards has left."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from uuid import UUID

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor
from mailement_webhooks.ids import EndpointId, Shard

SQL: Final = queries_beside(__file__)


async def leased_elsewhere(
    executor: Executor, shards: Collection[Shard], *, ours: Collection[UUID] = ()
) -> Mapping[EndpointId, tuple[int, float]]:
    """For each endpoint that has any: how many leases hold, and the seconds until the last of them ends.

    `ours`: tokens of leases that we hold ourselves, which are not counted.
    """
    rows = await executor.fetch(SQL["leases"], list(shards), list(ours))
    return {EndpointId(row["endpoint_id"]): (row["leases"], row["end_in"]) for row in rows}
