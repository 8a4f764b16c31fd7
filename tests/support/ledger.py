"""The mail ledger with something in it, a clock that a test sets, and mailrooms that run for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from pydantic import SecretStr

from mailement_common.clock import Clock
from mailement_common.sealing import KeyRing
from mailement_mailer.compose import Composer
from mailement_mailer.mailbox import Mailbox
from mailement_mailer.mailroom import Mailroom
from mailement_mailer.providers.fleet import Fleet
from mailement_mailer.providers.port import Outcome, Provider, RenderedMail, Sent
from mailement_mailer.routes import RouteBook
from mailement_mailer.settings import MailerSettings
from mailement_mailer.signing import Signing
from tests.support.mails import KEYS, NOON

_DEADLINE_SECONDS = 30
_HOUSE = Mailbox(name="House", address="house@mail.example")


@dataclass(slots=True)
class SetClock:
    """Stands still until it is moved."""

    moment: datetime = NOON

    def now(self) -> datetime:
        return self.moment

    def advance(self, by: timedelta) -> None:
        self.moment += by


@dataclass(slots=True)
class ScriptedProvider:
    """Answers with `outcome`, after `gate` opens; notes every mail that was handed over."""

    name: str = "scripted"
    idempotent_for: timedelta = timedelta(0)
    outcome: Outcome = field(default_factory=lambda: Sent(provider_message_id="id"))
    gate: asyncio.Event | None = None
    fault: Exception | None = None
    mails: list[RenderedMail] = field(default_factory=list)
    now_sending: int = 0
    most_at_once: int = 0

    async def send(self, mail: RenderedMail) -> Outcome:
        self.mails.append(mail)
        self.now_sending += 1
        self.most_at_once = max(self.most_at_once, self.now_sending)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.fault is not None:
                raise self.fault
            return self.outcome
        finally:
            self.now_sending -= 1

    async def close(self) -> None:
        """Nothing is held open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One brand with one step, and as many subscribers and messages as a test asks for."""

    pool: asyncpg.Pool
    brand_id: int
    step_id: int
    drip_id: int

    async def subscriber(self, name: str = "ada", status: str = "confirmed") -> int:
        found: int = await self.pool.fetchval(
            """INSERT INTO subscribers (brand_id, email, email_key, first_name, status)
            VALUES ($1, $2 || '@example.org', $2 || '@example.org', $2, $3) RETURNING id""",
            self.brand_id,
            name,
            status,
        )
        return found

    async def message(
        self, subscriber_id: int, *, key: str | None = None, not_before: datetime = NOON, priority: int = 1
    ) -> int:
        found: int = await self.pool.fetchval(
            """INSERT INTO messages (
                brand_id, subscriber_id, kind, lane, drip_id, drip_step_id, dedupe_key, not_before, priority, created_at
            )
            VALUES ($1, $2, 'drip', $3, $3, $4, $5, $6, $7, $6) RETURNING id""",
            self.brand_id,
            subscriber_id,
            self.drip_id,
            self.step_id,
            key or f"drip:{subscriber_id}:{self.step_id}",
            not_before,
            priority,
        )
        return found

    async def another_brand(self) -> Ledger:
        """With a drip of one step, in the same database."""
        row = await self.pool.fetchrow(
            """WITH brand AS (
                INSERT INTO brands (account_id, slug, name, opt_in_mode)
                SELECT account_id, 'other', 'Other', 'single' FROM brands WHERE id = $1 RETURNING id
            ),
            drip AS (INSERT INTO drips (brand_id, name, trigger) SELECT id, 'welcome', 'manual' FROM brand RETURNING id)
            INSERT INTO drip_steps (drip_id, position, delay, subject, body_text)
            SELECT id, 1024, interval '0', 'Welcome', 'Hi' FROM drip
            RETURNING id, drip_id, (SELECT id FROM brand) AS brand_id""",
            self.brand_id,
        )
        assert row is not None
        return Ledger(pool=self.pool, brand_id=row["brand_id"], step_id=row["id"], drip_id=row["drip_id"])

    async def messages(self, count: int) -> list[int]:
        """So many messages, each to a subscriber of its own."""
        return [await self.message(await self.subscriber(f"reader{number}")) for number in range(count)]

    async def row(self, message_id: int) -> asyncpg.Record:
        row = await self.pool.fetchrow(
            """SELECT state, attempts, tries, not_before, payload, lease_token, lease_until, provider, provider_message_id,
            error, finished_at, sender_id, mail_account_id, batch_id, batch_position, first_attempt_at, key_version, may_have_arrived
            FROM messages WHERE id = $1""",
            message_id,
        )
        assert row is not None
        return row

    async def attempts(self, message_id: int) -> list[tuple[int, str, str | None]]:
        """Number, outcome and code of each, in order."""
        rows = await self.pool.fetch(
            "SELECT number, outcome, code FROM message_attempts WHERE message_id = $1 ORDER BY number",
            message_id,
        )
        return [(row["number"], row["outcome"], row["code"]) for row in rows]

    async def state(self, message_id: int) -> str:
        state: str = (await self.row(message_id))["state"]
        return state

    async def states(self) -> dict[str, int]:
        rows = await self.pool.fetch("SELECT state, count(*) AS messages FROM messages GROUP BY state")
        return {row["state"]: row["messages"] for row in rows}


async def new_ledger(
    pool: asyncpg.Pool, *, html: str | None = None, text: str | None = "Hi {{ first_name }}"
) -> Ledger:
    row = await pool.fetchrow(
        """WITH account AS (INSERT INTO accounts (slug, name) VALUES ('a', 'A') RETURNING id),
        brand AS (
            INSERT INTO brands (account_id, slug, name, opt_in_mode) SELECT id, 'acme', 'Acme', 'single' FROM account
            RETURNING id
        ),
        drip AS (INSERT INTO drips (brand_id, name, trigger) SELECT id, 'welcome', 'manual' FROM brand RETURNING id)
        INSERT INTO drip_steps (drip_id, position, delay, subject, html, body_text)
        SELECT id, 1024, interval '0', 'Welcome {{ first_name }}', $1, $2 FROM drip
        RETURNING id, drip_id, (SELECT id FROM brand) AS brand_id""",
        html,
        text,
    )
    assert row is not None
    return Ledger(pool=pool, brand_id=row["brand_id"], step_id=row["id"], drip_id=row["drip_id"])


def a_composer() -> Composer:
    return Composer(
        sender=_HOUSE,
        public_url="https://news.example",
        keys=KeyRing(KEYS),
    )


class Room(Mailroom):
    """A mailroom with a fleet of its own, which `running` and `killed` let go of."""

    fleet: Fleet


def a_mailroom(
    pool: asyncpg.Pool,
    provider: Provider,
    clock: Clock,
    *,
    concurrency: int = 4,
    signing: Signing | None = None,
    renew_seconds: float = 5.0,
) -> Room:
    """`provider` is the account of the settings; brands may have others."""
    signing = signing or Signing()
    settings = MailerSettings(
        database_url="postgresql://nobody@127.0.0.1/none",
        amqp_url="amqp://127.0.0.1/",
        secret_keys=SecretStr(KEYS),
        mailer_concurrency=concurrency,
    )
    fleet = Fleet(settings, provider, clock, signer=signing)
    room = Room(
        pool,
        book=RouteBook(pool, KeyRing(KEYS), clock, house=_HOUSE),
        fleet=fleet,
        signing=signing,
        composer=a_composer(),
        clock=clock,
        concurrency=concurrency,
        renew_seconds=renew_seconds,
    )
    room.fleet = fleet
    return room


@asynccontextmanager
async def running(*mailrooms: Room) -> AsyncIterator[asyncio.Event]:
    """Runs them until the block ends, then lets them finish; the event stops them earlier."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(mailroom.run(stop)) for mailroom in mailrooms]
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(_DEADLINE_SECONDS):
            await asyncio.gather(*tasks)
        for mailroom in mailrooms:
            await mailroom.fleet.close()


@asynccontextmanager
async def killed(mailroom: Room) -> AsyncIterator[None]:
    """Runs it and cuts it off at the end of the block, in the middle of whatever it does."""
    task = asyncio.create_task(mailroom.run(asyncio.Event()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await mailroom.fleet.close()


async def until(holds: Callable[[], Awaitable[Any]], *, what: str) -> None:
    """Asks until it holds."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"did not happen in time: {what}") from None


async def until_finished(ledger: Ledger, message_ids: Sequence[int]) -> None:
    async def finished() -> bool:
        return not await ledger.pool.fetchval(
            "SELECT count(*) FROM messages WHERE id = ANY($1::bigint[]) AND finished_at IS NULL",
            list(message_ids),
        )

    await until(finished, what="every message has come to an end")
