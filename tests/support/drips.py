"""Drips of every kind of step, and a scheduler whose clock a test moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

import asyncpg

from mailement_common.events.envelope import Envelope
from mailement_common.ids import EventId, SubscriberId
from mailement_drip_scheduler.handlers import Done, handle
from mailement_newsletter.commands import ById, Enroll
from mailement_newsletter.ids import DripId, RunId, StepId
from mailement_newsletter.usecases.advance_drips import advance_drips
from mailement_newsletter.usecases.enroll import Enrolled, enroll
from mailement_newsletter.usecases.enroll_dated import enroll_dated
from mailement_newsletter.usecases.work_drip_jobs import work_drip_job
from tests.support.brands import Tenant

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# A Thursday.
NOON = datetime(2031, 5, 1, 12, tzinfo=UTC)
_GAP = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    kind: str = "send"
    delay: timedelta = timedelta(0)
    label: str | None = None
    topic: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    subject: str | None = None


def mail(subject: str, delay: timedelta = timedelta(0), **given: Any) -> Step:
    return Step(subject=subject, delay=delay, **given)


@dataclass(slots=True, kw_only=True)
class Series:
    """One drip of a brand under a clock of its own; `step_ids` in the order in which the steps were given."""

    brand: Tenant
    id: DripId
    step_ids: list[StepId]
    now: datetime = NOON

    @classmethod
    async def create(cls, brand: Tenant, *steps: Step, name: str = "series", **columns: Any) -> Series:
        given = {"trigger": "manual", **columns}
        names = ", ".join(given)
        places = ", ".join(f"${number}" for number in range(3, 3 + len(given)))
        drip: int = await brand.pool.fetchval(
            f"INSERT INTO drips (brand_id, name, {names}) VALUES ($1, $2, {places}) RETURNING id",
            brand.id,
            name,
            *given.values(),
        )
        series = cls(brand=brand, id=DripId(drip), step_ids=[])
        for number, step in enumerate(steps, start=1):
            series.step_ids.append(await series.add(number * _GAP, step))
        return series

    @property
    def pool(self) -> asyncpg.Pool:
        return self.brand.pool

    async def add(self, position: int, step: Step) -> StepId:
        made: int = await self.pool.fetchval(
            """
            INSERT INTO drip_steps (drip_id, position, kind, delay, label, topic_id, params, subject, body_text)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'Hello.') RETURNING id
            """,
            self.id,
            position,
            step.kind,
            step.delay,
            step.label,
            step.topic,
            dict(step.params),
            step.subject,
        )
        return StepId(made)

    async def set(self, **columns: Any) -> None:
        for column, value in columns.items():
            await self.pool.execute(f"UPDATE drips SET {column} = $2 WHERE id = $1", self.id, value)

    async def set_step(self, number: int, **columns: Any) -> None:
        for column, value in columns.items():
            await self.pool.execute(
                f"UPDATE drip_steps SET {column} = $2 WHERE id = $1", self.step_ids[number], value
            )

    async def pause(self) -> None:
        await self.set(state="paused")

    async def resume(self) -> None:
        """As the use case does it, at the series' own time."""
        await self.pool.execute(
            """
            UPDATE drips SET state = 'live', skip_due_before = CASE WHEN catch_up = 'skip' THEN $2::timestamptz END
            WHERE id = $1
            """,
            self.id,
            self.now,
        )

    async def enroll(self, subscriber: SubscriberId) -> Enrolled:
        enrolled = await enroll(
            self.pool, Enroll(brand_id=self.brand.id, drip_id=self.id, who=ById(subscriber_id=subscriber))
        )
        # As if it had been done at the series' own time.
        await self.pool.execute(
            """
            UPDATE drip_enrollments AS e SET
                anchor_at = $2,
                enrolled_at = $2,
                next_run_at = CASE
                    WHEN e.next_run_at IS NOT NULL THEN (
                        SELECT drip_due_at(
                            $2, t.delay, t.kind, t.params,
                            d.zone, d.brand_id, s.custom_fields, d.window_start, d.window_end, d.window_days
                        )
                        FROM drip_steps AS t
                        INNER JOIN drips AS d ON t.drip_id = d.id
                        INNER JOIN subscribers AS s ON s.id = e.subscriber_id
                        WHERE t.drip_id = e.drip_id AND t.deleted_at IS NULL ORDER BY t.position LIMIT 1
                    )
                END
            WHERE e.drip_id = $1 AND e.subscriber_id = $3 AND e.cursor_pos = 0 AND e.enrolled_at > now() - interval '1 hour'
            """,
            self.id,
            self.now,
            subscriber,
        )
        return enrolled

    async def run(self, number: int = -1) -> asyncpg.Record:
        """The drip's latest run, or the one of this number in order."""
        runs = await self.runs()
        return runs[number]

    async def runs(self) -> list[asyncpg.Record]:
        return await self.pool.fetch("SELECT * FROM drip_enrollments WHERE drip_id = $1 ORDER BY id", self.id)

    async def tick(self, *, by: timedelta = timedelta(0), batch: int = 1000) -> int:
        """Moves the clock and advances until nothing is due; returns the number of mails."""
        self.now += by
        queued = 0
        while (done := await advance_drips(self.pool, now=self.now, behind=0, batch=batch)).due:
            queued += done.queued
        return queued

    async def tick_dated(self, *, by: timedelta = timedelta(0)) -> int:
        """Moves the clock and enrols whom a date trigger concerns; returns how many."""
        self.now += by
        return (await enroll_dated(self.pool, now=self.now, behind=0, batch=100)).enrolled

    async def retime(self, *, size: int = 100) -> None:
        await self.pool.execute("INSERT INTO drip_jobs (drip_id, kind) VALUES ($1, 'retime')", self.id)
        while await work_drip_job(self.pool, now=self.now, size=size):
            pass

    async def subjects(self, subscriber: SubscriberId | None = None) -> list[str]:
        rows = await self.pool.fetch(
            """
            SELECT t.subject FROM messages AS m INNER JOIN drip_steps AS t ON m.drip_step_id = t.id
            WHERE m.drip_id = $1 AND ($2::bigint IS NULL OR m.subscriber_id = $2) ORDER BY m.id
            """,
            self.id,
            subscriber,
        )
        return [row["subject"] for row in rows]

    async def history(self, run: RunId | int | None = None) -> list[tuple[str, Any]]:
        rows = await self.pool.fetch(
            "SELECT kind, detail FROM drip_run_events WHERE drip_id = $1 AND ($2::bigint IS NULL OR enrollment_id = $2) ORDER BY at, kind",
            self.id,
            run,
        )
        return [(row["kind"], row["detail"]) for row in rows]

    async def tallies(self, number: int | None = None) -> dict[str, int]:
        """Of the drip, or of its step of this number."""
        step = 0 if number is None else self.step_ids[number]
        rows = await self.pool.fetch(
            "SELECT what, sum(n)::int AS n FROM drip_tallies WHERE drip_id = $1 AND step_id = $2 GROUP BY what",
            self.id,
            step,
        )
        return {row["what"]: row["n"] for row in rows}


async def tell_the_scheduler(brand: Tenant) -> Done:
    """Hands what waits in the outbox to the scheduler's handlers, once, and takes it out of there."""
    rows = await brand.pool.fetch("DELETE FROM outbox WHERE brand_id = $1 RETURNING *", brand.id)
    events = [
        Envelope(
            id=EventId(row["event_id"]),
            type=row["type"],
            brand_id=brand.id,
            occurred_at=row["occurred_at"],
            data=row["data"],
        )
        for row in sorted(rows, key=lambda row: int(row["id"]))
    ]
    async with brand.pool.acquire() as connection, connection.transaction():
        return await handle(connection, events)


def at(day: int, hour: int, minute: int = 0, *, month: int = 5) -> datetime:
    """A moment near NOON's."""
    return datetime(NOON.year, month, day, hour, minute, tzinfo=UTC)


def clock(hour: int, minute: int = 0) -> time:
    return time(hour, minute)
