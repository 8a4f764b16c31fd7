"""Topics, which callers also call tags."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import AlreadyExists, NotFound
from mailement_newsletter.rules import names

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    id: int
    slug: str
    name: str
    is_public: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownTopic:
    """A slug that callers got wrong. `days`: on how many days it was seen."""

    slug: str
    first_seen: date
    last_seen: date
    days: int


async def create_topic(
    connection: Connection, brand: BrandId, *, slug: str, name: str, is_public: bool
) -> Topic:
    """Raises AlreadyExists, InvalidName."""
    try:
        row = await connection.fetchrow(
            SQL["create"], brand, names.topic_slug(slug), names.name(name), is_public
        )
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(f"the brand has a topic {slug!r} already") from error
    assert row is not None
    return _topic(row)


async def list_topics(connection: Connection, brand: BrandId) -> list[Topic]:
    return [_topic(row) for row in await connection.fetch(SQL["list_all"], brand, None)]


async def find_topic(connection: Connection, brand: BrandId, slug: str) -> Topic:
    """Raises NotFound."""
    row = await connection.fetchrow(SQL["list_all"], brand, slug)
    if row is None:
        raise NotFound(f"the brand has no topic {slug!r}")
    return _topic(row)


async def list_unknown_topics(connection: Connection, brand: BrandId) -> list[UnknownTopic]:
    return [UnknownTopic(**dict(row)) for row in await connection.fetch(SQL["unknown"], brand)]


def _topic(row: asyncpg.Record) -> Topic:
    return Topic(**dict(row))
