"""List deliveries, in pages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import Delivery, DeliveryState, Reason
from mailement_webhooks.errors import BadCursor
from mailement_webhooks.ids import DeliveryId, EndpointId
from mailement_webhooks.ids import Sequence as Number

SQL: Final = queries_beside(__file__)

ENDED: Final = frozenset({DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.DISCARDED})

_BIGINT: Final = 2**63 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONG_AGO: Final = datetime(1, 1, 2, tzinfo=UTC)
_NEWEST_CURSOR: Final = re.compile(r"(?P<way>[is])(?P<number>[0-9]{1,19})", re.ASCII)
_WAITING_CURSOR: Final = re.compile(
    r"(?P<way>[wl])(?P<lane>[0-9]{1,4}),(?P<due>[0-9]{1,17}),(?P<id>[0-9]{1,19})", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """None: any. Brand or endpoint must be given. `occurred_from` is included, `occurred_until` is not."""

    brand_id: BrandId | None = None
    endpoint_id: EndpointId | None = None
    state: DeliveryState | None = None
    type: str | None = None
    occurred_from: datetime | None = None
    occurred_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`cursor` leads to the next page of the same list; None: this is the last."""

    deliveries: tuple[Delivery, ...]
    cursor: str | None


async def list_deliveries(
    executor: Executor, wanted: DeliveryFilter, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """The newest first; of those that are pending, held or leased the one that is due first.

    Among a brand's are those for endpoints that hear every brand of its account. Raises BadCursor.
    """
    assert wanted.brand_id is not None or wanted.endpoint_id is not None
    # One more than asked for tells whether there is another page.
    match wanted.state:
        case DeliveryState.PENDING | DeliveryState.HELD | DeliveryState.LEASED as state:
            keys = await _waiting(executor, wanted, state, limit + 1, cursor)
        case None | DeliveryState.DELIVERED | DeliveryState.FAILED | DeliveryState.DISCARDED:
            keys = await _newest(executor, wanted, limit + 1, cursor)
        case _:
            assert_never(wanted.state)
    following = _cursor(wanted, keys[limit - 1]) if len(keys) > limit else None
    return Page(deliveries=tuple(await load_deliveries(executor, keys[:limit])), cursor=following)


async def load_deliveries(executor: Executor, keys: Sequence[asyncpg.Record]) -> list[Delivery]:
    """`keys`: rows with `id` and `occurred_at`."""
    if not keys:
        return []
    rows = await executor.fetch(
        SQL["rows"], [key["id"] for key in keys], [key["occurred_at"] for key in keys]
    )
    return [_delivery(row) for row in rows]


async def _newest(
    executor: Executor, wanted: DeliveryFilter, limit: int, cursor: str | None
) -> list[asyncpg.Record]:
    before = _BIGINT if cursor is None else _number(_way(wanted), cursor)
    return await executor.fetch(
        _newest_query(wanted),
        wanted.brand_id,
        wanted.endpoint_id,
        before,
        wanted.state,
        wanted.type,
        wanted.occurred_from,
        wanted.occurred_until,
        limit,
    )


async def _waiting(
    executor: Executor, wanted: DeliveryFilter, state: DeliveryState, limit: int, cursor: str | None
) -> list[asyncpg.Record]:
    lane, due_at, after = (-1, _LONG_AGO, 0) if cursor is None else _place(_way(wanted), cursor)
    between = (wanted.type, wanted.occurred_from, wanted.occurred_until, limit)
    if state is DeliveryState.LEASED:
        return await executor.fetch(
            SQL["leased"], wanted.brand_id, wanted.endpoint_id, after, *between, due_at
        )
    held = state is DeliveryState.HELD
    return await executor.fetch(
        SQL["waiting"], wanted.brand_id, wanted.endpoint_id, after, held, *between, lane, due_at
    )


def _newest_query(wanted: DeliveryFilter) -> str:
    if wanted.state is DeliveryState.FAILED:
        return SQL["failed"]
    return SQL["newest_of_brand"] if wanted.endpoint_id is None else SQL["newest_of_endpoint"]


def _way(wanted: DeliveryFilter) -> str:
    """What a cursor counts by: a cursor of one kind of list means nothing to another."""
    match wanted.state:
        case DeliveryState.PENDING | DeliveryState.HELD:
            return "w"
        case DeliveryState.LEASED:
            return "l"
        case DeliveryState.FAILED:
            return "i"
        case None | DeliveryState.DELIVERED | DeliveryState.DISCARDED:
            return "i" if wanted.endpoint_id is None else "s"
        case _:
            assert_never(wanted.state)


def _cursor(wanted: DeliveryFilter, last: asyncpg.Record) -> str:
    match way := _way(wanted):
        case "i":
            text = f"i{last['id']}"
        case "s":
            text = f"s{last['sequence']}"
        case _:
            text = (
                f"{way}{last['lane']},{(last['due_at'] - _EPOCH) // timedelta(microseconds=1)},{last['id']}"
            )
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _number(way: str, cursor: str) -> int:
    found = _NEWEST_CURSOR.fullmatch(_decoded(cursor))
    if found is None or found["way"] != way or int(found["number"]) > _BIGINT:
        raise BadCursor
    return int(found["number"])


def _place(way: str, cursor: str) -> tuple[int, datetime, int]:
    found = _WAITING_CURSOR.fullmatch(_decoded(cursor))
    if found is None or found["way"] != way or int(found["id"]) > _BIGINT:
        raise BadCursor
    try:
        due_at = _EPOCH + timedelta(microseconds=int(found["due"]))
    except OverflowError:
        raise BadCursor from None
    return int(found["lane"]), due_at, int(found["id"])


def _decoded(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
            "ascii"
        )
    except (binascii.Error, ValueError):
        raise BadCursor from None


def _delivery(row: asyncpg.Record) -> Delivery:
    state, reason = state_of(row)
    is_waiting = state in {DeliveryState.PENDING, DeliveryState.HELD}
    return Delivery(
        id=DeliveryId(row["id"]),
        event_id=EventId(row["event_id"]),
        endpoint_id=EndpointId(row["endpoint_id"]),
        brand_id=BrandId(row["brand_id"]),
        sequence=Number(row["sequence"]),
        type=row["type"],
        state=state,
        reason=reason,
        attempts=row["attempts"] if row["attempts_so_far"] is None else row["attempts_so_far"],
        occurred_at=row["occurred_at"],
        created_at=row["created_at"],
        # One that waits to be replayed keeps the moment of its end, in case the replay is cancelled.
        finished_at=row["finished_at"] if state in ENDED else None,
        next_attempt_at=row["due_at"] if is_waiting else None,
    )


def state_of(row: asyncpg.Record) -> tuple[DeliveryState, Reason | None]:
    """What the ledger, the queue and the endpoint say together.

    From a row with `state`, `reason`, `leased`, `discarding`, `discard_reason`, `endpoint_state`, `resting`.
    """
    if row["state"] != "pending":
        return DeliveryState(row["state"]), None if row["reason"] is None else Reason(row["reason"])
    if row["leased"]:
        return DeliveryState.LEASED, None
    if row["discarding"]:
        return DeliveryState.DISCARDED, Reason(row["discard_reason"])
    if row["endpoint_state"] != "enabled" or row["resting"]:
        return DeliveryState.HELD, None
    return DeliveryState.PENDING, None
