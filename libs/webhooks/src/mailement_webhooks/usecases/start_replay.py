"""Start a replay, or see beforehand how much it would be."""

from __future__ import annotations

import math
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.errors import EndpointNotFound, InvalidReplay
from mailement_webhooks.ids import EndpointId, ReplayId, Sequence
from mailement_webhooks.replays import (
    DEFAULT_RATE,
    FASTEST_RATE,
    MOST_COUNTED,
    OUTCOMES,
    Replay,
    ReplayCount,
    ReplayFilter,
)
from mailement_webhooks.rules.profiles import known_event_types
from mailement_webhooks.usecases.list_endpoints import find_endpoint
from mailement_webhooks.usecases.list_replays import show_replay

SQL: Final = queries_beside(__file__)


async def count_replay(
    executor: Executor, endpoint_id: EndpointId, wanted: ReplayFilter, *, brand_id: BrandId | None = None
) -> ReplayCount:
    """The dry run: how many deliveries it would be. Raises EndpointNotFound, InvalidReplay."""
    _check_filter(await find_endpoint(executor, endpoint_id, brand_id=brand_id), wanted)
    count, _ = await _count(executor, endpoint_id, wanted)
    return count


async def start_replay(
    executor: Executor,
    endpoint_id: EndpointId,
    wanted: ReplayFilter,
    *,
    rate_per_second: float = DEFAULT_RATE,
    brand_id: BrandId | None = None,
) -> Replay:
    """Covers the deliveries that the endpoint has by now; one that waits yet is replayed if it has ended by its turn.

    Raises EndpointNotFound, InvalidReplay.
    """
    _check_filter(await find_endpoint(executor, endpoint_id, brand_id=brand_id), wanted)
    check_replay_rate(rate_per_second)
    count, last = await _count(executor, endpoint_id, wanted)
    replay_id = await executor.fetchval(
        SQL["start"],
        endpoint_id,
        wanted.types,
        wanted.outcomes,
        wanted.occurred_from,
        wanted.occurred_until,
        rate_per_second,
        count.deliveries + (not count.is_exact),
        last,
    )
    if replay_id is None:
        raise EndpointNotFound(endpoint_id)
    return await show_replay(executor, ReplayId(replay_id))


def check_replay_rate(rate: float) -> None:
    """Raises InvalidReplay."""
    if not (math.isfinite(rate) and 0 < rate <= FASTEST_RATE):
        raise InvalidReplay("rate_per_second", f"is not above 0 and at most {FASTEST_RATE:,.0f}")


async def _count(
    executor: Executor, endpoint_id: EndpointId, wanted: ReplayFilter
) -> tuple[ReplayCount, Sequence]:
    row = await executor.fetchrow(
        SQL["count"],
        endpoint_id,
        wanted.types,
        wanted.outcomes,
        wanted.occurred_from,
        wanted.occurred_until,
        MOST_COUNTED + 1,
    )
    assert row is not None
    found: int = row["deliveries"]
    count = ReplayCount(deliveries=min(found, MOST_COUNTED), is_exact=found <= MOST_COUNTED)
    return count, Sequence(row["last_sequence"])


def _check_filter(endpoint: Endpoint, wanted: ReplayFilter) -> None:
    for event_type in wanted.types or ():
        if event_type not in known_event_types(endpoint.profile):
            raise InvalidReplay("types", f"{event_type[:100]!r} is never posted to this endpoint")
    for outcome in wanted.outcomes or ():
        if outcome not in OUTCOMES:
            raise InvalidReplay("outcomes", f"{outcome} is not how a delivery ends")
    if wanted.types == () or wanted.outcomes == ():
        raise InvalidReplay(
            "types" if wanted.types == () else "outcomes", "with none of them nothing is replayed"
        )
    if wanted.occurred_from and wanted.occurred_until and wanted.occurred_from >= wanted.occurred_until:
        raise InvalidReplay("until", "is not after `from`")
