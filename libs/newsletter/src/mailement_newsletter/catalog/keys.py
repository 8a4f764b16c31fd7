"""API keys: shown once, stored as a hash, revocable."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.catalog.brands import Brand
from mailement_newsletter.errors import NotFound
from mailement_newsletter.rules.scopes import KeyScope
from mailement_newsletter.usecases.authenticate import KEYS_CHANGED, key_hash

SQL: Final = queries_beside(__file__)

_PREFIX: Final = "mlm_live_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it can be shown: without the key."""

    id: int
    brand: str | None
    name: str
    dialect: str
    last_four: str
    scopes: Sequence[str]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """`key` exists nowhere else: whoever loses it needs a new one."""

    id: int
    key: str


async def create_key(
    connection: Connection, brand: Brand, *, name: str, scopes: Collection[KeyScope] = ()
) -> NewKey:
    """A key of the native dialect for one brand: `mlm_live_` and 32 hex digits."""
    key = _PREFIX + secrets.token_hex(16)
    key_id: int = await connection.fetchval(
        SQL["create"], brand.account_id, brand.id, "mailement", name, key_hash(key), key[-4:], sorted(scopes)
    )
    return NewKey(id=key_id, key=key)


async def list_keys(connection: Connection, brand: BrandId | None) -> list[ApiKey]:
    return [ApiKey(**dict(row)) for row in await connection.fetch(SQL["list_all"], brand, None)]


async def find_key_by_id(connection: Connection, key_id: int) -> ApiKey:
    """Raises NotFound."""
    row = await connection.fetchrow(SQL["list_all"], None, key_id)
    if row is None:
        raise NotFound(f"there is no key {key_id}")
    return ApiKey(**dict(row))


async def revoke_key(connection: Connection, key_id: int) -> ApiKey:
    """Revoking twice is harmless. Raises NotFound."""
    async with connection.transaction():
        await connection.execute(SQL["revoke"], key_id)
        await connection.execute(SQL["announce"], KEYS_CHANGED, "key revoked")
    return await find_key_by_id(connection, key_id)
