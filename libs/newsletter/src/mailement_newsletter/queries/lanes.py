"""Whose mail goes next: priorities first, then brands in turn, then each brand's drips and campaigns in turn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.ids import BatchId, MessageId, StepId
from mailement_newsletter.queries.messages import (
    Cancelled,
    Claimed,
    KnownKeys,
    Place,
    Recipient,
    SendingBrand,
)
from mailement_newsletter.rules.lanes import Lane, Waiting
from mailement_newsletter.rules.senders import MailAccountId, MailKind, SenderId

SQL: Final = queries_beside(__file__)

# A walk looks at no more than this: what is behind it comes with the next one.
MOST_BRANDS: Final = 100
MOST_LANES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What may be taken of a lane now, and until when it is ours."""

    lane: Lane
    mails: int
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    claimed: Sequence[Claimed]
    cancelled: Sequence[Cancelled]


async def waiting_lanes(
    pool: asyncpg.Pool, *, now: datetime, after: BrandId, lanes_after: Mapping[BrandId, Lane], room: int
) -> list[Waiting]:
    """Lanes with something queued, the urgent first, then round the brands from behind `after`.

    At most MOST_BRANDS of each priority, and MOST_LANES of each brand, from behind the one in `lanes_after`.
    Of what is due no more is counted than could go into `room`.
    """
    rows = await pool.fetch(
        SQL["waiting_lanes"],
        now,
        after,
        MOST_BRANDS,
        MOST_LANES,
        room,
        list(lanes_after),
        [lane.kind for lane in lanes_after.values()],
        [lane.id for lane in lanes_after.values()],
    )
    return [
        Waiting(
            lane=Lane(
                priority=row["priority"],
                brand_id=BrandId(row["brand_id"]),
                kind=MailKind(row["kind"]),
                id=row["lane"],
            ),
            due=row["due"],
            has_more=row["due"] >= row["counted"],
        )
        for row in rows
    ]


async def claim(
    pool: asyncpg.Pool, portions: Sequence[Portion], *, now: datetime, lease_token: UUID
) -> Claims:
    """What is due of each lane, at most its portion, the urgent first, then the oldest.

    Those who may not be written to any more, or whose brand, drip or step is gone, are cancelled in the same statement.
    """
    lanes = [portion.lane for portion in portions]
    rows = await pool.fetch(
        SQL["claim"],
        now,
        lease_token,
        [lane.priority for lane in lanes],
        [lane.brand_id for lane in lanes],
        [lane.kind for lane in lanes],
        [lane.id for lane in lanes],
        [portion.mails for portion in portions],
        [portion.lease_until for portion in portions],
    )
    return Claims(
        claimed=[_claimed(row, lease_token) for row in rows if row["refusal"] is None],
        cancelled=[_cancelled(row) for row in rows if row["refusal"] is not None],
    )


async def claim_batches(
    pool: asyncpg.Pool,
    *,
    now: datetime,
    lease_until: datetime,
    lease_token: UUID,
    keys: KnownKeys,
    max_tries: int,
    limit: int,
    full: Collection[MailAccountId | None] = (),
) -> list[list[Claimed]]:
    """At most `limit` batches that go out once more under their keys, each whole and in its order. Those of accounts
    that are `full` stay as they are; None is the account of the settings.
    """
    rows = await pool.fetch(
        SQL["claim_batches"],
        now,
        lease_token,
        lease_until,
        list(keys.kept),
        list(keys.kept.values()),
        keys.own,
        max_tries,
        limit,
        [account_id or 0 for account_id in full],
    )
    batches: dict[UUID, list[Claimed]] = {}
    for row in rows:
        batches.setdefault(row["batch_id"], []).append(_claimed(row, lease_token))
    return list(batches.values())


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
        kind=MailKind(row["kind"]),
        lane=row["lane"],
        priority=row["priority"],
        step_id=None if row["drip_step_id"] is None else StepId(row["drip_step_id"]),
        dedupe_key=row["dedupe_key"],
        key_version=row["key_version"],
        payload=row["payload"],
        attempts=row["attempts"],
        tries=row["tries"],
        first_attempt_at=row["first_attempt_at"],
        may_have_arrived=row["may_have_arrived"],
        provider=row["provider"],
        account_id=None if row["mail_account_id"] is None else MailAccountId(row["mail_account_id"]),
        sender_id=None if row["sender_id"] is None else SenderId(row["sender_id"]),
        place=_place(row),
        traceparent=row["traceparent"],
        created_at=row["created_at"],
    )


def _place(row: asyncpg.Record) -> Place | None:
    if row["batch_id"] is None:
        return None
    return Place(batch=BatchId(row["batch_id"]), position=row["batch_position"])


def _cancelled(row: asyncpg.Record) -> Cancelled:
    return Cancelled(
        id=MessageId(row["id"]),
        brand_id=BrandId(row["brand_id"]),
        subscriber_id=SubscriberId(row["subscriber_id"]),
        reason=row["refusal"],
        traceparent=row["traceparent"],
    )
