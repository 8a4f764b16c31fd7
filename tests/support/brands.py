"""Brands to test with: a key, and short ways to give a brand things and to look at its rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import asyncpg
import pytest

from mailement_common.events.envelope import Envelope
from mailement_common.ids import BrandId, EventId, SubscriberId
from mailement_drip_scheduler.handlers import handle
from mailement_newsletter.catalog.accounts import create_account
from mailement_newsletter.catalog.brands import Brand, create_brand
from mailement_newsletter.catalog.fields import create_field
from mailement_newsletter.catalog.keys import NewKey, create_key
from mailement_newsletter.catalog.topics import create_topic
from mailement_newsletter.commands import ById, Subscribe
from mailement_newsletter.ids import DripId
from mailement_newsletter.rules.addresses import parse_address
from mailement_newsletter.rules.drip_definition import DripDefinition, DripState, DripTrigger, Send, Step
from mailement_newsletter.rules.lifecycle import OptInMode, SubscriberStatus
from mailement_newsletter.usecases.archive_drip import archive_drip
from mailement_newsletter.usecases.create_drip import create_drip
from mailement_newsletter.usecases.leave import mark_bounced, mark_complained, unsubscribe
from mailement_newsletter.usecases.pause_drip import pause_drip
from mailement_newsletter.usecases.resume_drip import resume_drip
from mailement_newsletter.usecases.subscribe import subscribe
from tests.support.database import Database

READER = "reader@example.com"
AT_ONCE = timedelta(0)

_LEAVE = {
    SubscriberStatus.UNSUBSCRIBED: unsubscribe,
    SubscriberStatus.BOUNCED: mark_bounced,
    SubscriberStatus.COMPLAINED: mark_complained,
}

MakeTenant = Callable[..., Awaitable["Tenant"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One brand and its key."""

    pool: asyncpg.Pool
    brand: Brand
    new_key: NewKey

    @property
    def id(self) -> BrandId:
        return self.brand.id

    @property
    def slug(self) -> str:
        return self.brand.slug

    @property
    def key(self) -> str:
        return self.new_key.key

    async def topic(self, slug: str, *, public: bool = True) -> int:
        async with self.pool.acquire() as connection:
            return (await create_topic(connection, self.id, slug=slug, name=slug, is_public=public)).id

    async def field(self, key: str) -> None:
        async with self.pool.acquire() as connection:
            await create_field(connection, self.id, key=key, name=key)

    async def drip(
        self,
        *delays: timedelta,
        trigger: DripTrigger = DripTrigger.MANUAL,
        topic: str | None = None,
        name: str = "welcome",
    ) -> int:
        """A live drip with a step for each delay, called `step 1`, `step 2`, …; an event or a date that starts it is made up."""
        steps = [
            Step(delay=delay, action=Send(subject=f"step {number}", text="Hello."))
            for number, delay in enumerate(delays, start=1)
        ]
        event = "bought" if trigger is DripTrigger.EVENT else None
        field = "birthday" if trigger is DripTrigger.DATE else None
        if field is not None:
            await self.field(field)
        new = DripDefinition(name=name, trigger=trigger, topic=topic, event=event, field=field, steps=steps)
        return (await create_drip(self.pool, self.id, new)).id

    async def set_drip(self, drip_id: int, state: DripState) -> None:
        match state:
            case DripState.LIVE:
                await resume_drip(self.pool, self.id, DripId(drip_id))
            case DripState.PAUSED:
                await pause_drip(self.pool, self.id, DripId(drip_id))
            case DripState.ARCHIVED:
                await archive_drip(self.pool, self.id, DripId(drip_id))
            case DripState.DRAFT:
                raise AssertionError("nothing that was live becomes a draft")

    async def subscriber(
        self, email: str = READER, *, status: SubscriberStatus = SubscriberStatus.CONFIRMED, **given: Any
    ) -> SubscriberId:
        """A subscriber in this state, come into it by the way that every subscriber comes."""
        address = parse_address(email)
        found = await subscribe(self.pool, Subscribe(brand_id=self.id, address=address, **given))
        if status in _LEAVE:
            await _LEAVE[status](self.pool, self.id, ById(subscriber_id=found.subscriber_id))
        elif status is not found.status:
            assert status is SubscriberStatus.CONFIRMED, f"{found.status} does not become {status}"
            confirm = Subscribe(brand_id=self.id, address=address, auto_confirm=True)
            await subscribe(self.pool, confirm)
        return found.subscriber_id

    async def row(self, email: str = READER) -> asyncpg.Record:
        """The row of a subscriber, with the transaction that wrote it as `written_by`."""
        row = await self.pool.fetchrow(
            "SELECT *, xmin::text AS written_by FROM subscribers WHERE brand_id = $1 AND email_key = $2",
            self.id,
            parse_address(email).key,
        )
        assert row is not None, f"{self.slug} has no {email}"
        return row

    async def subscribers(self) -> int:
        found: int = await self.pool.fetchval("SELECT count(*) FROM subscribers WHERE brand_id = $1", self.id)
        return found

    async def events(self) -> list[asyncpg.Record]:
        """What waits in the outbox for this brand, the oldest first."""
        return await self.pool.fetch("SELECT * FROM outbox WHERE brand_id = $1 ORDER BY id", self.id)

    async def event_types(self) -> list[str]:
        return [event["type"] for event in await self.events()]

    async def enrollments(self) -> list[asyncpg.Record]:
        return await self.pool.fetch(
            "SELECT * FROM drip_enrollments WHERE brand_id = $1 ORDER BY id", self.id
        )

    async def start_drips(self) -> int:
        """Hands what waits in the outbox to the drip scheduler; returns how many enrolments that started."""
        events = [
            Envelope(
                id=EventId(event["event_id"]),
                type=event["type"],
                brand_id=self.id,
                occurred_at=event["occurred_at"],
                data=event["data"],
            )
            for event in await self.events()
        ]
        async with self.pool.acquire() as connection, connection.transaction():
            return (await handle(connection, events)).enrolled

    async def unknown_slugs(self) -> list[str]:
        rows = await self.pool.fetch(
            "SELECT slug FROM unknown_topics WHERE brand_id = $1 ORDER BY slug", self.id
        )
        return [row["slug"] for row in rows]


@pytest.fixture
def make_brand(database: Database) -> MakeTenant:
    """`await make_brand(opt_in=OptInMode.DOUBLE)`: a brand of an account of its own."""
    numbers = count(1)

    async def make(*, opt_in: OptInMode = OptInMode.SINGLE) -> Tenant:
        slug = f"brand-{next(numbers)}"
        async with database.pool.acquire() as connection:
            account = await create_account(connection, slug=slug, name=slug)
            brand = await create_brand(connection, account_id=account.id, slug=slug, name=slug, opt_in=opt_in)
            key = await create_key(connection, brand, name="test")
        return Tenant(pool=database.pool, brand=brand, new_key=key)

    return make


@pytest.fixture
async def brand(make_brand: MakeTenant) -> Tenant:
    """A single opt-in brand."""
    return await make_brand()


@pytest.fixture
async def double_brand(make_brand: MakeTenant) -> Tenant:
    """A double opt-in brand."""
    return await make_brand(opt_in=OptInMode.DOUBLE)


async def count_rows(pool: asyncpg.Pool) -> dict[str, int]:
    """How many rows each table has that a request could write; keys' last use aside."""
    tables = ("subscribers", "outbox", "drip_enrollments", "messages", "unknown_topics")
    return {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
