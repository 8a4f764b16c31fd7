"""Drips as operators see them: made from a description, listed, paused, resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.catalog.topics import find_topic
from mailement_newsletter.errors import AlreadyExists, NotFound

SQL: Final = queries_beside(__file__)

# Room for a step between any two.
_POSITION_GAP: Final = 1024


class DripState(StrEnum):
    LIVE = "live"
    PAUSED = "paused"
    ARCHIVED = "archived"


class DripTrigger(StrEnum):
    SUBSCRIBER_CONFIRMED = "subscriber_confirmed"
    TOPIC_ADDED = "topic_added"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStep:
    """`delay` counts from the enrolment for the first step, from the previous run for the others."""

    delay: timedelta
    subject: str
    html: str | None
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDrip:
    """`topic` is the slug that a `topic_added` trigger waits for."""

    name: str
    trigger: DripTrigger
    topic: str | None
    steps: Sequence[NewStep]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip:
    id: int
    name: str
    state: DripState
    trigger: DripTrigger
    topic: str | None
    active: int
    completed: int
    exited: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DripStateSet:
    id: int
    name: str
    state: DripState


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    id: int
    position: int
    delay: timedelta
    subject: str
    html: str | None
    body_text: str | None


async def create_drip(connection: Connection, brand: BrandId, new: NewDrip) -> Drip:
    """The drip and its steps, together. Raises AlreadyExists, NotFound (the topic)."""
    topic_id = (await find_topic(connection, brand, new.topic)).id if new.topic else None
    try:
        async with connection.transaction():
            drip_id: int = await connection.fetchval(SQL["create"], brand, new.name, new.trigger, topic_id)
            for number, step in enumerate(new.steps, start=1):
                await connection.execute(
                    SQL["add_step"],
                    drip_id,
                    number * _POSITION_GAP,
                    step.delay,
                    step.subject,
                    step.html,
                    step.text,
                )
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(f"the brand has a drip {new.name!r} already") from error
    return await find_drip(connection, brand, drip_id)


async def list_drips(connection: Connection, brand: BrandId) -> list[Drip]:
    return [_drip(row) for row in await connection.fetch(SQL["list_all"], brand, None)]


async def find_drip(connection: Connection, brand: BrandId, drip_id: int) -> Drip:
    """Raises NotFound."""
    row = await connection.fetchrow(SQL["list_all"], brand, drip_id)
    if row is None:
        raise NotFound(f"the brand has no drip {drip_id}")
    return _drip(row)


async def list_steps(connection: Connection, drip: Drip) -> list[Step]:
    return [Step(**dict(row)) for row in await connection.fetch(SQL["steps"], drip.id)]


async def set_drip_state(
    connection: Connection, brand: BrandId, drip_id: int, state: DripState
) -> DripStateSet:
    """Pauses or resumes, at once, however many are enrolled. Raises NotFound; an archived drip stays archived."""
    row = await connection.fetchrow(SQL["set_state"], drip_id, brand, state)
    if row is None:
        raise NotFound(f"the brand has no drip {drip_id} that could be {state}")
    return DripStateSet(id=row["id"], name=row["name"], state=DripState(row["state"]))


def _drip(row: asyncpg.Record) -> Drip:
    return Drip(**{**dict(row), "state": DripState(row["state"]), "trigger": DripTrigger(row["trigger"])})
