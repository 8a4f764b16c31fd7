"""List deliveries, in pages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, assert_never

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
_LONG_AHEAD: Final = datetime(9999, 11, 1, tzinfo=UTC)
_FIRST_PLACE: Final = (-1, _LONG_AGO, 0)
# Whoever looks for what there is hardly any of, goes through a long past in so many pages.
_MOST_LOOKED_AT: Final = 10_000
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
    """`cursor` leads to the next page of the same list; None: this is the last.

    A page that has fewer deliveries than were asked for, or none, and a cursor nevertheless, has looked at as many as a page
    looks at: what is wanted may be behind them.
    """

    deliveries: tuple[Delivery, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """`end`: where looking stopped. None: at the end of the list, or where there was enough."""

    keys: Sequence[asyncpg.Record]
    end: asyncpg.Record | None


async def list_deliveries(
    executor: Executor, wanted: DeliveryFilter, *, limit: int = 50, cursor: str | None = None
) -> Page:
    """The newest first; of those that are pending, held or leased the one that is due first.

    Among a brand's are those for endpoints that hear every brand of its account. However much there is, a page costs no
    more than to look at some ten thousand. Raises BadCursor.
    """
    assert wanted.brand_id is not None or wanted.endpoint_id is not None
    # One more than asked for tells whether there is another page.
    match wanted.state:
        case DeliveryState.PENDING | DeliveryState.HELD:
            found = await _waiting(executor, wanted, limit + 1, cursor)
        case DeliveryState.LEASED:
            found = await _leased(executor, wanted, limit + 1, cursor)
        case DeliveryState.FAILED:
            found = await _failed(executor, wanted, limit + 1, cursor)
        case None | DeliveryState.DELIVERED | DeliveryState.DISCARDED:
            found = await _newest(executor, wanted, limit + 1, cursor)
        case _:
            assert_never(wanted.state)
    last = found.keys[limit - 1] if len(found.keys) > limit else found.end
    return Page(
        deliveries=tuple(await load_deliveries(executor, found.keys[:limit])),
        cursor=None if last is None else _cursor(wanted, last),
    )


async def load_deliveries(executor: Executor, keys: Sequence[asyncpg.Record]) -> list[Delivery]:
    """`keys`: rows with `id` and `occurred_at`."""
    if not keys:
        return []
    rows = await executor.fetch(
        SQL["rows"], [key["id"] for key in keys], [key["occurred_at"] for key in keys]
    )
    return [_delivery(row) for row in rows]


async def _newest(executor: Executor, wanted: DeliveryFilter, limit: int, cursor: str | None) -> _Found:
    before = _BIGINT if cursor is None else _number(_way(wanted), cursor)
    span = (*_months(wanted), _MOST_LOOKED_AT)
    narrow = (wanted.state, *_details(wanted), limit, *span)
    if wanted.endpoint_id is None:
        keys = await executor.fetch(SQL["newest_of_brand"], wanted.brand_id, before, *narrow)
        if len(keys) == limit:
            return _Found(keys=keys, end=None)
        ends = await executor.fetch(SQL["end_of_brand"], wanted.brand_id, before, *span)
        return _up_to_the_first(ends, keys, _backwards)
    if not await _hearing(executor, wanted):
        return _Found(keys=(), end=None)
    start = (wanted.endpoint_id, before)
    keys = await executor.fetch(SQL["newest_of_endpoint"], *start, *narrow, wanted.brand_id)
    if len(keys) == limit:
        return _Found(keys=keys, end=None)
    ends = await executor.fetch(SQL["end_of_endpoint"], *start, *span)
    return _up_to_the_first(ends, keys, _backwards_in_sequence)


async def _failed(executor: Executor, wanted: DeliveryFilter, limit: int, cursor: str | None) -> _Found:
    before = _BIGINT if cursor is None else _number(_way(wanted), cursor)
    start = ([row["id"] for row in await _hearing(executor, wanted)], before)
    span = (*_months(wanted), _looks(len(start[0]), limit))
    keys = await executor.fetch(SQL["failed"], *start, *_details(wanted), limit, *span, wanted.brand_id)
    return _up_to_the_first(await executor.fetch(SQL["ends_of_failed"], *start, *span), keys, _backwards)


async def _waiting(executor: Executor, wanted: DeliveryFilter, limit: int, cursor: str | None) -> _Found:
    place = _FIRST_PLACE if cursor is None else _place(_way(wanted), cursor)
    held = wanted.state is DeliveryState.HELD
    heard = [
        row["id"]
        for row in await _hearing(executor, wanted)
        if row["is_held"] is held and not row["is_deleted"]
    ]
    looks = _looks(len(heard), limit)
    keys = await executor.fetch(
        SQL["waiting"], heard, *place, *_details(wanted), limit, looks, wanted.brand_id
    )
    return _up_to_the_first(
        await executor.fetch(SQL["ends_of_waiting"], heard, *place, looks), keys, _by_turn
    )


async def _leased(executor: Executor, wanted: DeliveryFilter, limit: int, cursor: str | None) -> _Found:
    _, due_at, after = _FIRST_PLACE if cursor is None else _place(_way(wanted), cursor)
    keys = await executor.fetch(
        SQL["leased"], wanted.brand_id, wanted.endpoint_id, after, *_details(wanted), limit, due_at
    )
    return _Found(keys=keys, end=None)


async def _hearing(executor: Executor, wanted: DeliveryFilter) -> list[asyncpg.Record]:
    return await executor.fetch(SQL["hearing"], wanted.brand_id, wanted.endpoint_id)


def _details(wanted: DeliveryFilter) -> tuple[str | None, datetime | None, datetime | None]:
    return wanted.type, wanted.occurred_from, wanted.occurred_until


def _looks(endpoints: int, limit: int) -> int:
    """How many of each endpoint are looked at."""
    return max(_MOST_LOOKED_AT // max(endpoints, 1), limit)


def _months(wanted: DeliveryFilter) -> tuple[datetime, datetime]:
    """The parts of the ledger that can have what is wanted: from the first moment of a month to that of another."""
    first = _month(wanted.occurred_from or _LONG_AGO)
    last = _month(wanted.occurred_until or _LONG_AHEAD)
    return first, _month(last + timedelta(days=31))


def _month(at: datetime) -> datetime:
    within = min(max(at, _LONG_AGO), _LONG_AHEAD).astimezone(UTC)
    return within.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


Position = Callable[[asyncpg.Record], tuple[Any, ...]]


def _backwards(row: asyncpg.Record) -> tuple[int]:
    return (-row["id"],)


def _backwards_in_sequence(row: asyncpg.Record) -> tuple[int]:
    return (-row["sequence"],)


def _by_turn(row: asyncpg.Record) -> tuple[int, datetime, int]:
    return row["lane"], row["due_at"], row["id"]


def _up_to_the_first(
    ends: Sequence[asyncpg.Record], keys: Sequence[asyncpg.Record], position: Position
) -> _Found:
    """Behind the first end, something of that endpoint that nobody has looked at may come before the other keys."""
    if not ends:
        return _Found(keys=keys, end=None)
    end = min(ends, key=position)
    return _Found(keys=[key for key in keys if position(key) <= position(end)], end=end)


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

    From a row with `state`, `reason`, `finished_at`, `leased`, `discarding`, `discard_reason`, `endpoint_state`, `resting`.
    """
    if row["state"] != "pending":
        return DeliveryState(row["state"]), None if row["reason"] is None else Reason(row["reason"])
    if row["leased"]:
        return DeliveryState.LEASED, None
    if row["discarding"]:
        if row["finished_at"] is not None and row["reason"] is None:
            # It had arrived before it was to be sent once more.
            return DeliveryState.DELIVERED, None
        return DeliveryState.DISCARDED, Reason(row["discard_reason"])
    if row["endpoint_state"] != "enabled" or row["resting"]:
        return DeliveryState.HELD, None
    return DeliveryState.PENDING, None
