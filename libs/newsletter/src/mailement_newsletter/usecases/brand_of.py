"""Whose subscriber is this? For links that carry nothing but the subscriber's id."""

from __future__ import annotations

from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.errors import SubscriberNotFound

SQL: Final = queries_beside(__file__)


async def brand_of(pool: asyncpg.Pool, subscriber: SubscriberId) -> tuple[BrandId, str]:
    """The brand's id and name. Raises SubscriberNotFound."""
    row = await pool.fetchrow(SQL["brand_of"], subscriber)
    if row is None:
        raise SubscriberNotFound
    return BrandId(row["id"]), row["name"]
