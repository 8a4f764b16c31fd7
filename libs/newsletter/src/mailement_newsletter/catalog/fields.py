"""Custom fields: what a brand wants to know of its subscribers; any other key is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import AlreadyExists, NotFound
from mailement_newsletter.rules import names

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomField:
    id: int
    key: str
    name: str
    created_at: datetime


async def create_field(connection: Connection, brand: BrandId, *, key: str, name: str) -> CustomField:
    """Raises AlreadyExists, InvalidName."""
    try:
        row = await connection.fetchrow(SQL["create"], brand, names.name(key), names.name(name))
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(f"the brand has a field {key!r} already") from error
    assert row is not None
    return _field(row)


async def list_fields(connection: Connection, brand: BrandId) -> list[CustomField]:
    return [_field(row) for row in await connection.fetch(SQL["list_all"], brand, None)]


async def find_field(connection: Connection, brand: BrandId, key: str) -> CustomField:
    """Raises NotFound."""
    row = await connection.fetchrow(SQL["list_all"], brand, key)
    if row is None:
        raise NotFound(f"the brand has no field {key!r}")
    return _field(row)


def _field(row: asyncpg.Record) -> CustomField:
    return CustomField(**dict(row))
