"""Brands: the tenants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId, BrandId
from mailement_newsletter.errors import AlreadyExists, InvalidName, NotFound
from mailement_newsletter.rules import names
from mailement_newsletter.rules.lifecycle import OptInMode
from mailement_newsletter.usecases.authenticate import KEYS_CHANGED

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    id: BrandId
    account_id: AccountId
    account: str
    slug: str
    name: str
    opt_in_mode: OptInMode
    sender_name: str | None
    sender_address: str | None
    timezone: str
    created_at: datetime


async def create_brand(
    connection: Connection,
    *,
    account_id: AccountId,
    slug: str,
    name: str,
    opt_in: OptInMode,
    sender_name: str | None = None,
    sender_address: str | None = None,
    timezone: str = "UTC",
) -> Brand:
    """`timezone`: an IANA name. Raises AlreadyExists, InvalidName."""
    values = (
        account_id,
        names.slug(slug),
        names.name(name),
        opt_in,
        names.name(sender_name) if sender_name else None,
        names.sender_address(sender_address) if sender_address else None,
        await _zone(connection, timezone),
    )
    try:
        await connection.execute(SQL["create"], *values)
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(f"there is a brand {slug!r} already") from error
    return await find_brand(connection, slug)


async def update_brand(
    connection: Connection,
    brand: Brand,
    *,
    name: str | None = None,
    opt_in: OptInMode | None = None,
    sender_name: str | None = None,
    sender_address: str | None = None,
    timezone: str | None = None,
) -> Brand:
    """Changes what is given. Mails that are waiting take the new sender, drips the new time zone. Raises InvalidName."""
    await connection.execute(
        SQL["update"],
        brand.id,
        names.name(name) if name is not None else None,
        opt_in,
        names.name(sender_name) if sender_name is not None else None,
        names.sender_address(sender_address) if sender_address is not None else None,
        await _zone(connection, timezone) if timezone is not None else None,
    )
    return await find_brand(connection, brand.slug)


async def list_brands(connection: Connection) -> list[Brand]:
    return [_brand(row) for row in await connection.fetch(SQL["list_all"], None)]


async def find_brand(connection: Connection, slug: str) -> Brand:
    """Raises NotFound."""
    row = await connection.fetchrow(SQL["list_all"], slug)
    if row is None:
        raise NotFound(f"there is no brand {slug!r}")
    return _brand(row)


async def delete_brand(connection: Connection, brand: Brand) -> None:
    """The brand's rows stay; nothing is sent, posted or accepted for it any more."""
    async with connection.transaction():
        await connection.execute(SQL["delete"], brand.id)
        await connection.execute(SQL["announce"], KEYS_CHANGED, "brand deleted")


async def _zone(connection: Connection, name: str) -> str:
    """As PostgreSQL writes it, however it was typed. Raises InvalidName."""
    found: str | None = await connection.fetchval(SQL["zone"], name)
    if found is None:
        raise InvalidName(f"{name!r} is no time zone: they are called like Europe/Berlin or America/New_York")
    return found


def _brand(row: asyncpg.Record) -> Brand:
    return Brand(**{**dict(row), "opt_in_mode": OptInMode(row["opt_in_mode"])})
