"""Leave: unsubscribe, or be taken out after a bounce or a complaint. Happens once; repeating it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.commands import Who
from mailement_newsletter.errors import SubscriberNotFound
from mailement_newsletter.rules.lifecycle import LEAVES_FROM, SubscriberStatus
from mailement_newsletter.usecases.drip_rows import transaction
from mailement_newsletter.usecases.who import identifiers

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    subscriber_id: SubscriberId
    changed: bool


async def unsubscribe(
    pool: asyncpg.Pool, brand: BrandId, who: Who, *, traceparent: str | None = None
) -> Left:
    """By the person's own wish. Raises SubscriberNotFound."""
    return await _leave(pool, brand, who, SubscriberStatus.UNSUBSCRIBED, traceparent)


async def mark_bounced(
    pool: asyncpg.Pool, brand: BrandId, who: Who, *, traceparent: str | None = None
) -> Left:
    """As a provider reports a permanent bounce. Raises SubscriberNotFound."""
    return await _leave(pool, brand, who, SubscriberStatus.BOUNCED, traceparent)


async def mark_complained(
    pool: asyncpg.Pool, brand: BrandId, who: Who, *, traceparent: str | None = None
) -> Left:
    """As a provider reports that mail was marked as spam. Raises SubscriberNotFound."""
    return await _leave(pool, brand, who, SubscriberStatus.COMPLAINED, traceparent)


async def _leave(
    pool: asyncpg.Pool, brand: BrandId, who: Who, to: SubscriberStatus, traceparent: str | None
) -> Left:
    async with transaction(pool) as connection:
        row = await connection.fetchrow(
            SQL["leave"], brand, *identifiers(who), to, LEAVES_FROM[to], traceparent
        )
        if row is None:
            raise SubscriberNotFound
        if row["changed"]:
            await connection.execute(SQL["cancel_mails"], row["id"], to)
    return Left(subscriber_id=SubscriberId(row["id"]), changed=row["changed"])
