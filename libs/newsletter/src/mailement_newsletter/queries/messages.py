"""The mail ledger: queued → claimed → sending → sent | failed | uncertain | cancelled (docs/mailer.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.ids import BatchId, DripId, MessageId, StepId
from mailement_newsletter.rules.messages import AttemptOutcome, MessageState
from mailement_newsletter.rules.senders import MailAccountId, MailKind, SenderId

SQL: Final = queries_beside(__file__)

Payload = dict[str, Any]


class Lease(NamedTuple):
    """One claim of one message. A process may hold two of the same message, when the first has ended without its notice."""

    message_id: MessageId
    token: UUID


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
class Place:
    """Where in a request of several mails this one stood, which is frozen as the mail is."""

    batch: BatchId
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A message that is ours until the lease ends.

    `payload` is there if an earlier attempt has frozen it; then `provider`, `account_id` and `place` say which way it
    took. `attempts` counts all of them, `tries` those that count against the schedule. `may_have_arrived`: an earlier
    attempt has left that open.
    """

    id: MessageId
    lease_token: UUID
    brand: SendingBrand
    recipient: Recipient
    kind: MailKind = MailKind.DRIP
    lane: int = 0
    priority: int = 1
    step_id: StepId | None
    dedupe_key: str
    key_version: int = 0
    payload: Payload | None = field(repr=False)
    attempts: int
    tries: int = 0
    first_attempt_at: datetime | None = None
    may_have_arrived: bool = False
    provider: str | None = None
    account_id: MailAccountId | None = None
    sender_id: SenderId | None = None
    place: Place | None = None
    traceparent: str | None
    created_at: datetime

    @property
    def lease(self) -> Lease:
        return Lease(self.id, self.lease_token)

    @property
    def is_frozen(self) -> bool:
        """Its bytes and its way are fixed: somebody was asked to take it before it was claimed this time."""
        return self.payload is not None

    @property
    def goes_alone(self) -> bool:
        """It is frozen under a key of its own, or a request that it shared was refused because of one of its mails."""
        return self.is_frozen or self.tries > 0

    @property
    def key(self) -> str:
        """The idempotency key: the dedupe key, until somebody wished for a mail once more that had not arrived."""
        return self.dedupe_key if self.key_version == 0 else f"{self.dedupe_key}:again:{self.key_version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A message that must not leave any more; `reason` says why: `subscriber_unsubscribed`, `brand_deleted`, …"""

    id: MessageId
    brand_id: BrandId
    subscriber_id: SubscriberId
    reason: str
    traceparent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContent:
    """HTML, MJML and text with Liquid; at least one of `html` and `text` is there. `drip_id`: whose step it is."""

    drip_id: DripId | None = None
    subject: str
    html: str | None
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A message about to go out; `payload` is what will be frozen, unless that has happened before."""

    id: MessageId
    lease_token: UUID
    payload: Payload = field(repr=False)
    attempt: int
    provider: str
    account_id: MailAccountId | None = None
    sender_id: SenderId | None = None
    place: Place | None = None

    @property
    def lease(self) -> Lease:
        return Lease(self.id, self.lease_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One hand-over to a provider, as the ledger keeps it. `code`: the provider's own word, such as `550` or `429`."""

    outcome: AttemptOutcome
    code: str | None
    reason: str | None
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a message, as the ledger keeps it.

    `not_before`: when it will be tried again; `may_have_arrived`: this attempt or one before it leaves that open; `thaw`:
    certainly nobody has taken it, so the next attempt may be another mail; `attempt` None: there was none. In the state `sending`, it waits with
    its batch.
    """

    id: MessageId
    lease_token: UUID
    state: MessageState
    attempts: int
    tries: int
    not_before: datetime | None = None
    provider_message_id: str | None = None
    error: str | None = None
    finished_at: datetime | None = None
    may_have_arrived: bool = False
    thaw: bool = False
    attempt: Attempt | None = None

    @property
    def lease(self) -> Lease:
        return Lease(self.id, self.lease_token)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKeys:
    """How long each provider knows a key again; those that never do are not named.

    `own`: the provider of the settings, which is the only one that can repeat what went through the account of the settings.
    """

    own: str
    kept: Mapping[str, timedelta]


async def step_contents(pool: asyncpg.Pool, steps: Sequence[StepId]) -> dict[StepId, StepContent]:
    rows = await pool.fetch(SQL["step_contents"], list(steps))
    return {
        StepId(row["id"]): StepContent(
            drip_id=DripId(row["drip_id"]), subject=row["subject"], html=row["html"], text=row["body_text"]
        )
        for row in rows
    }


async def start(
    pool: asyncpg.Pool, departures: Sequence[Departure], *, now: datetime, lease_until: datetime
) -> set[Lease]:
    """Marks messages as `sending` and freezes them; the answer names those that are still ours to send, until `lease_until`
    or later.
    """
    rows = await pool.fetch(
        SQL["start"],
        now,
        [each.id for each in departures],
        [each.lease_token for each in departures],
        [each.payload for each in departures],
        [each.attempt for each in departures],
        [each.provider for each in departures],
        [each.account_id for each in departures],
        [each.sender_id for each in departures],
        [None if each.place is None else each.place.batch for each in departures],
        [None if each.place is None else each.place.position for each in departures],
        lease_until,
    )
    return _leases(rows)


async def record(pool: asyncpg.Pool, fates: Sequence[Fate]) -> set[Lease]:
    """Writes outcomes down; the answer lacks those whose lease another mailer has taken over.

    What has become `uncertain` meanwhile, since this mailer could not be heard, is so no longer.
    """
    recorded = await _record(pool, fates)
    late = [fate for fate in fates if fate.lease not in recorded]
    if not late:
        return recorded
    async with pool.acquire() as connection, connection.transaction():
        reopened = _leases(await connection.fetch(SQL["reopen"], *_ours(late)))
        return recorded | await _record(connection, [fate for fate in late if fate.lease in reopened])


async def _record(executor: asyncpg.Pool | Connection, fates: Sequence[Fate]) -> set[Lease]:
    attempts = [fate.attempt for fate in fates]
    rows = await executor.fetch(
        SQL["record"],
        [fate.id for fate in fates],
        [fate.lease_token for fate in fates],
        [fate.state for fate in fates],
        [fate.attempts for fate in fates],
        [fate.tries for fate in fates],
        [fate.not_before for fate in fates],
        [fate.provider_message_id for fate in fates],
        [fate.error for fate in fates],
        [fate.finished_at for fate in fates],
        [fate.may_have_arrived for fate in fates],
        [fate.thaw for fate in fates],
        [attempt and attempt.outcome for attempt in attempts],
        [attempt and attempt.code for attempt in attempts],
        [attempt and attempt.reason for attempt in attempts],
        [attempt and attempt.duration_ms for attempt in attempts],
    )
    return _leases(rows)


async def renew(pool: asyncpg.Pool, claimed: Sequence[Claimed], *, lease_until: datetime) -> None:
    """Of those that are still ours."""
    await pool.execute(
        SQL["renew"],
        [message.id for message in claimed],
        [message.lease_token for message in claimed],
        lease_until,
    )


async def release(
    pool: asyncpg.Pool, claimed: Sequence[Claimed], *, not_before: datetime | None = None
) -> None:
    """Puts claimed messages back into the queue, untouched but for `not_before`."""
    await pool.execute(SQL["release"], *_ours(claimed), not_before)


async def postpone_batches(pool: asyncpg.Pool, members: Sequence[Claimed], *, until: datetime) -> None:
    """Batches that were claimed to go out again and cannot yet: they may be claimed at `until`."""
    await pool.execute(SQL["postpone_batches"], *_ours(members), until)


async def expire(
    pool: asyncpg.Pool, *, now: datetime, keys: KnownKeys, max_tries: int, limit: int
) -> list[Expired]:
    """At most `limit` messages whose lease has ended: queued again or `uncertain`.

    What was on the wire goes out again only through the same account, while its provider still knows the key
    (counted from the first attempt), and only if fewer than `max_tries` were made.
    """
    rows = await pool.fetch(
        SQL["expire"], now, limit, list(keys.kept), list(keys.kept.values()), keys.own, max_tries
    )
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


def _ours(claimed: Sequence[Claimed | Fate]) -> tuple[list[MessageId], list[UUID]]:
    return [message.id for message in claimed], [message.lease_token for message in claimed]


def _leases(rows: Sequence[asyncpg.Record]) -> set[Lease]:
    return {Lease(MessageId(row["id"]), row["lease_token"]) for row in rows}
