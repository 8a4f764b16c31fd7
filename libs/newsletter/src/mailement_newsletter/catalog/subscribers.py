"""Subscribers as operators see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.catalog.topics import Topic
from mailement_newsletter.commands import Scalar, Who
from mailement_newsletter.errors import SubscriberNotFound
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.who import identifiers

SQL: Final = queries_beside(__file__)

_BIGGEST_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    id: SubscriberId
    email: str
    first_name: str | None
    last_name: str | None
    city: str | None
    custom_fields: Mapping[str, Scalar]
    status: SubscriberStatus
    source: str | None
    confirmed_at: datetime | None
    unsubscribed_at: datetime | None
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrollment:
    id: int
    drip_id: int
    drip: str
    state: str
    exit_reason: str | None
    enrolled_at: datetime
    next_run_at: datetime | None
    mails_sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberDetails:
    subscriber: Subscriber
    topics: Sequence[Topic]
    enrollments: Sequence[Enrollment]


async def list_subscribers(
    connection: Connection,
    brand: BrandId,
    *,
    status: SubscriberStatus | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Subscriber]:
    """The newest first; `before` is the last id of the previous page."""
    rows = await connection.fetch(SQL["list_page"], brand, status, before or _BIGGEST_ID, limit)
    return [_subscriber(row) for row in rows]


async def show_subscriber(connection: Connection, brand: BrandId, who: Who) -> SubscriberDetails:
    """Raises SubscriberNotFound."""
    row = await connection.fetchrow(SQL["find"], brand, *identifiers(who))
    if row is None:
        raise SubscriberNotFound
    topics = await connection.fetch(SQL["topics"], row["id"])
    enrollments = await connection.fetch(SQL["enrollments"], row["id"])
    return SubscriberDetails(
        subscriber=_subscriber(row),
        topics=[Topic(**dict(topic)) for topic in topics],
        enrollments=[Enrollment(**dict(enrollment)) for enrollment in enrollments],
    )


def _subscriber(row: asyncpg.Record) -> Subscriber:
    return Subscriber(**{**dict(row), "status": SubscriberStatus(row["status"])})
