"""DKIM keys: with what a domain's mail is signed. The private key goes in, and comes out only for who signs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId
from mailement_common.sealing import KeyRing
from mailement_newsletter.errors import AlreadyExists, NotFound
from mailement_newsletter.queries.senders import dkim_owner

SQL: Final = queries_beside(__file__)


class DkimKeyState(StrEnum):
    """`pending`: its DNS record is not there yet, and nothing is signed with it."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKeyReport:
    """`account` None: the operator's, for the mail of every account from this domain."""

    id: int
    account: str | None
    domain: str
    selector: str
    algorithm: str
    state: DkimKeyState
    created_at: datetime


async def create_dkim_key(
    connection: Connection,
    keys: KeyRing,
    *,
    account_id: AccountId | None,
    domain: str,
    selector: str,
    algorithm: str,
    private_key: str,
) -> DkimKeyReport:
    """Stores a key, pending. `domain` and `selector` in lower case, ASCII. Raises AlreadyExists."""
    try:
        async with connection.transaction():
            key_id: int = await connection.fetchval(SQL["create"], account_id, domain, selector, algorithm)
            sealed = keys.seal(private_key, owner=dkim_owner(key_id))
            await connection.execute(SQL["set_key"], key_id, sealed)
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(f"{domain} has a key {selector!r} already") from error
    return await find_dkim_key(connection, key_id)


async def list_dkim_keys(connection: Connection) -> list[DkimKeyReport]:
    return [_key(row) for row in await connection.fetch(SQL["list_all"], None)]


async def find_dkim_key(connection: Connection, key_id: int) -> DkimKeyReport:
    """Raises NotFound."""
    return _key(await _row(connection, key_id))


async def open_dkim_key(connection: Connection, keys: KeyRing, key_id: int) -> str:
    """The private key, in PEM. Raises NotFound, CannotOpen."""
    row = await _row(connection, key_id)
    return keys.open(row["private_key_sealed"], owner=dkim_owner(key_id))


async def set_dkim_key_state(
    connection: Connection, key: DkimKeyReport, state: DkimKeyState
) -> DkimKeyReport:
    """Of several active keys of a domain the newest signs."""
    await connection.execute(SQL["set_state"], key.id, state)
    return await find_dkim_key(connection, key.id)


async def _row(connection: Connection, key_id: int) -> asyncpg.Record:
    row = await connection.fetchrow(SQL["list_all"], key_id)
    if row is None:
        raise NotFound(f"there is no DKIM key {key_id}")
    return row


def _key(row: asyncpg.Record) -> DkimKeyReport:
    known = {name: value for name, value in row.items() if name != "private_key_sealed"}
    return DkimKeyReport(**{**known, "state": DkimKeyState(row["state"])})
