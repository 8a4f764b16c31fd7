"""Accounts own brands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId
from mailement_newsletter.errors import AlreadyExists, NotFound
from mailement_newsletter.rules import names

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    id: AccountId
    slug: str
    name: str
    brands: int
    created_at: datetime


async def create_account(connection: Connection, *, slug: str, name: str) -> Account:
    """Raises AlreadyExists, InvalidName."""
    try:
        row = await connection.fetchrow(SQL["create"], names.slug(slug), names.name(name))
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(f"there is an account {slug!r} already") from error
    assert row is not None
    return _account(row)


async def list_accounts(connection: Connection) -> list[Account]:
    return [_account(row) for row in await connection.fetch(SQL["list_all"], None)]


async def find_account(connection: Connection, slug: str) -> Account:
    """Raises NotFound."""
    row = await connection.fetchrow(SQL["list_all"], slug)
    if row is None:
        raise NotFound(f"there is no account {slug!r}")
    return _account(row)


def _account(row: asyncpg.Record) -> Account:
    return Account(**dict(row))
