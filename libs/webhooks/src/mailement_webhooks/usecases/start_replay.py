"""Start a replay, or see beforehand how much it would be."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.errors import InvalidReplay, TooManyReplays
from mailement_webhooks.ids import EndpointId, ReplayId, Sequence
from mailement_webhooks.replays import (
    DEFAULT_RATE,
    FASTEST_RATE,
    MOST_AT_A_TIME,
    MOST_LOOKED_AT,
    OUTCOMES,
    SLOWEST_RATE,
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
    """Covers what has ended by now; one that waits, or is on its way, is not sent a second time behind itself.

    Raises EndpointNotFound, InvalidReplay, TooManyReplays.
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
        count.deliveries,
        count.is_exact,
        last,
        MOST_AT_A_TIME,
    )
    if replay_id is None:
        # Deleted meanwhile, or there are too many.
        await find_endpoint(executor, endpoint_id, brand_id=brand_id)
        raise TooManyReplays(MOST_AT_A_TIME)
    return await show_replay(executor, ReplayId(replay_id))


def check_replay_rate(rate: float) -> None:
    """Raises InvalidReplay."""
    if not SLOWEST_RATE <= rate <= FASTEST_RATE:
        raise InvalidReplay("rate_per_second", f"is not between {SLOWEST_RATE:g} and {FASTEST_RATE:,.0f}")


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
        MOST_LOOKED_AT + 1,
    )
    assert row is not None
    count = ReplayCount(deliveries=row["deliveries"], is_exact=row["looked_at"] <= MOST_LOOKED_AT)
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
