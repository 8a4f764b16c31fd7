"""Authenticate: whose key is this? Only the SHA-256 of a key is ever stored."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId, BrandId

SQL: Final = queries_beside(__file__)

# A revocation, or the end of a brand, is announced here, so that no process trusts a cached key any longer.
KEYS_CHANGED: Final = "mailement_keys_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """`brand_id` None: the key reaches every brand of its account. `scopes`: what it may do beside the usual (rules/scopes)."""

    id: int
    account_id: AccountId
    brand_id: BrandId | None
    brand_deleted: bool
    scopes: frozenset[str]


def key_hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


async def find_key(pool: asyncpg.Pool, digest: bytes) -> KnownKey | None:
    """None when there is no such key, or when it was revoked."""
    row = await pool.fetchrow(SQL["find_key"], digest)
    if row is None:
        return None
    return KnownKey(
        id=row["id"],
        account_id=AccountId(row["account_id"]),
        brand_id=None if row["brand_id"] is None else BrandId(row["brand_id"]),
        brand_deleted=row["brand_deleted"],
        scopes=frozenset(row["scopes"]),
    )


async def note_use(pool: asyncpg.Pool, key_ids: Collection[int]) -> None:
    await pool.execute(SQL["note_use"], sorted(key_ids))
