"""The mail ledger: queued → claimed → sending → sent | failed | uncertain | cancelled (docs/mailer.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NewType
from uuid import UUID

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId

SQL: Final = queries_beside(__file__)

MessageId = NewType("MessageId", int)
StepId = NewType("StepId", int)
Payload = dict[str, Any]


class MessageState(StrEnum):
    QUEUED = "queued"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """`email` as the subscriber typed it, `email_key` with the domain in ASCII."""

    id: SubscriberId
    email: str
    email_key: str
    first_name: str | None
    last_name: str | None
    city: str | None
    custom_fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingBrand:
    id: BrandId
    slug: str
    name: str
    sender_name: str | None
    sender_address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A message that is ours until the lease ends. `payload` is there if an earlier attempt has frozen it."""

    id: MessageId
    lease_token: UUID
    brand: SendingBrand
    recipient: Recipient
    step_id: StepId | None
    dedupe_key: str
    payload: Payload | None
    attempts: int
    traceparent: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A message that must not leave any more; `reason` says why: `subscriber_unsubscribed`, `brand_deleted`, …"""

    id: MessageId
    brand_id: BrandId
    subscriber_id: SubscriberId
    reason: str
    traceparent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    claimed: Sequence[Claimed]
    cancelled: Sequence[Cancelled]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContent:
    """Liquid source; at least one of `html` and `text` is there."""

    subject: str
    html: str | None
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A message about to go out; `payload` is what will be frozen, unless that has happened before."""

    id: MessageId
    lease_token: UUID
    payload: Payload
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one attempt, as the ledger keeps it. `not_before` is set when it will be tried again."""

    id: MessageId
    lease_token: UUID
    state: MessageState
    attempts: int
    not_before: datetime | None = None
    provider_message_id: str | None = None
    error: str | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """A message whose mailer fell silent, in the state that it was put into."""

    id: MessageId
    brand_id: BrandId
    subscriber_id: SubscriberId
    state: MessageState
    attempts: int
    provider: str | None
    error: str | None
    traceparent: str | None


async def claim(
    pool: asyncpg.Pool, *, now: datetime, lease_until: datetime, lease_token: UUID, limit: int
) -> Claims:
    """At most `limit` messages that are due, by (priority, not_before, id).

    Those whose subscriber is not confirmed, or whose brand or step is deleted, are cancelled in the same statement.
    """
    rows = await pool.fetch(SQL["claim"], now, limit, lease_token, lease_until)
    rows.sort(key=lambda row: (row["priority"], row["not_before"], row["id"]))
    return Claims(
        claimed=[_claimed(row, lease_token) for row in rows if row["refusal"] is None],
        cancelled=[_cancelled(row) for row in rows if row["refusal"] is not None],
    )


async def step_contents(pool: asyncpg.Pool, steps: Sequence[StepId]) -> dict[StepId, StepContent]:
    rows = await pool.fetch(SQL["step_contents"], list(steps))
    return {
        StepId(row["id"]): StepContent(subject=row["subject"], html=row["html"], text=row["body_text"])
        for row in rows
    }


async def start(
    pool: asyncpg.Pool,
    departures: Sequence[Departure],
    *,
    provider: str,
    now: datetime,
    lease_until: datetime,
) -> set[MessageId]:
    """Marks messages as `sending` and freezes them; the answer names those that are still ours to send."""
    rows = await pool.fetch(
        SQL["start"],
        [departure.id for departure in departures],
        [departure.lease_token for departure in departures],
        [departure.payload for departure in departures],
        [departure.attempt for departure in departures],
        provider,
        now,
        lease_until,
    )
    return {MessageId(row["id"]) for row in rows}


async def record(pool: asyncpg.Pool, fates: Sequence[Fate]) -> set[MessageId]:
    """Writes outcomes down; the answer lacks those whose lease another mailer has taken over."""
    rows = await pool.fetch(
        SQL["record"],
        [fate.id for fate in fates],
        [fate.lease_token for fate in fates],
        [fate.state for fate in fates],
        [fate.attempts for fate in fates],
        [fate.not_before for fate in fates],
        [fate.provider_message_id for fate in fates],
        [fate.error for fate in fates],
        [fate.finished_at for fate in fates],
    )
    return {MessageId(row["id"]) for row in rows}


async def release(pool: asyncpg.Pool, claimed: Sequence[Claimed]) -> None:
    """Puts claimed messages back into the queue, untouched."""
    await pool.execute(
        SQL["release"], [message.id for message in claimed], [message.lease_token for message in claimed]
    )


async def expire(
    pool: asyncpg.Pool,
    *,
    now: datetime,
    provider: str,
    idempotent_for: timedelta,
    max_attempts: int,
    limit: int,
) -> list[Expired]:
    """At most `limit` messages whose lease has ended: queued again or `uncertain`.

    What was on the wire goes out again only through the same provider, while that still knows its key
    (`idempotent_for` after the lease), and only if fewer than `max_attempts` were made.
    """
    rows = await pool.fetch(SQL["expire"], now, limit, provider, idempotent_for, max_attempts)
    return [
        Expired(
            id=MessageId(row["id"]),
            brand_id=BrandId(row["brand_id"]),
            subscriber_id=SubscriberId(row["subscriber_id"]),
            state=MessageState(row["state"]),
            attempts=row["attempts"],
            provider=row["provider"],
            error=row["error"],
            traceparent=row["traceparent"],
        )
        for row in rows
    ]


def _claimed(row: asyncpg.Record, lease_token: UUID) -> Claimed:
    return Claimed(
        id=MessageId(row["id"]),
        lease_token=lease_token,
        brand=SendingBrand(
            id=BrandId(row["brand_id"]),
            slug=row["brand_slug"],
            name=row["brand_name"],
            sender_name=row["sender_name"],
            sender_address=row["sender_address"],
        ),
        recipient=Recipient(
            id=SubscriberId(row["subscriber_id"]),
            email=row["email"],
            email_key=row["email_key"],
            first_name=row["first_name"],
            last_name=row["last_name"],
            city=row["city"],
            custom_fields=row["custom_fields"],
        ),
        step_id=None if row["drip_step_id"] is None else StepId(row["drip_step_id"]),
        dedupe_key=row["dedupe_key"],
        payload=row["payload"],
        attempts=row["attempts"],
        traceparent=row["traceparent"],
        created_at=row["created_at"],
    )


def _cancelled(row: asyncpg.Record) -> Cancelled:
    return Cancelled(
        id=MessageId(row["id"]),
        brand_id=BrandId(row["brand_id"]),
        subscriber_id=SubscriberId(row["subscriber_id"]),
        reason=row["refusal"],
        traceparent=row["traceparent"],
    )
