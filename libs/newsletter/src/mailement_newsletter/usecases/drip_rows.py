"""A drip as it lies in the database, read for the deeds on drips."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import DripNotFound
from mailement_newsletter.ids import DripId, StepId, TopicId
from mailement_newsletter.rules.drip_definition import (
    CatchUp,
    DripDefinition,
    DripState,
    DripTrigger,
    DripZone,
    ReEnroll,
    StepKind,
    Window,
    WrittenState,
)
from mailement_newsletter.rules.drip_storage import StoredStep, from_stored, topic_ids_in

SQL: Final = queries_beside(__file__)

# One statement needs no more than a pool; on a connection it is a part of its transaction.
Executor: TypeAlias = "asyncpg.Pool | Connection"


@dataclass(frozen=True, slots=True, kw_only=True)
class DripRows:
    """`steps`: the live ones in their order; `gone`: positions of those that were deleted.

    `definition` is what people wrote, with the steps' ids. `timezone`: the brand's.
    """

    id: DripId
    brand_id: BrandId
    state: DripState
    definition: DripDefinition
    steps: Sequence[StoredStep]
    gone: Sequence[int]
    skip_due_before: datetime | None
    paced_until: datetime | None
    timezone: str
    created_at: datetime
    updated_at: datetime

    @property
    def version(self) -> int:
        assert self.definition.version is not None
        return self.definition.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """`active` are the runs that have neither ended nor failed."""

    enrolled: int
    active: int
    completed: int
    exited: int
    failed: int
    cancelled: int


async def load_drip(executor: Executor, brand: BrandId, drip: DripId, *, lock: bool = False) -> DripRows:
    """`lock`: nobody else edits it before the transaction ends. Raises DripNotFound."""
    if lock:
        await executor.execute(SQL["lock"], brand, drip)
    row = await executor.fetchrow(SQL["find"], brand, drip)
    if row is None:
        raise DripNotFound
    rows = await executor.fetch(SQL["steps"], drip)
    steps = [_step(found) for found in rows if found["deleted_at"] is None]
    topics = await _slugs(executor, _topic_ids(row, steps))
    return DripRows(
        id=drip,
        brand_id=brand,
        state=DripState(row["state"]),
        definition=_definition(row, steps, topics),
        steps=steps,
        gone=[found["position"] for found in rows if found["deleted_at"] is not None],
        skip_due_before=row["skip_due_before"],
        paced_until=row["paced_until"],
        timezone=row["timezone"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


async def require_drip(executor: Executor, brand: BrandId, drip: DripId) -> None:
    """Raises DripNotFound."""
    if not await executor.fetchval(SQL["exists"], brand, drip):
        raise DripNotFound


async def load_numbers(executor: Executor, drips: Collection[DripId]) -> Mapping[DripId, Numbers]:
    """Of runs, from the tallies; of every drip that is asked for."""
    rows = await executor.fetch(SQL["numbers"], list(drips))
    found = {DripId(row["drip_id"]): row for row in rows}
    return {drip: numbers_of(found[drip]["counts"] if drip in found else {}) for drip in drips}


def numbers_of(counts: Mapping[str, int]) -> Numbers:
    """Tallies are appended by several processes: for a moment the ends may be ahead of the beginnings."""
    ended = {what: max(0, counts.get(what, 0)) for what in ("completed", "exited", "failed", "cancelled")}
    enrolled = counts.get("enrolled", 0)
    return Numbers(enrolled=enrolled, active=max(0, enrolled - sum(ended.values())), **ended)


@asynccontextmanager
async def transaction(executor: Executor) -> AsyncIterator[Connection]:
    """For a deed of several statements; on a connection that is in a transaction, a part of that."""
    if isinstance(executor, asyncpg.Pool):
        async with executor.acquire() as connection, connection.transaction():
            yield connection
    else:
        async with executor.transaction():
            yield executor


def _topic_ids(row: asyncpg.Record, steps: Sequence[StoredStep]) -> set[TopicId]:
    own = {*row["exit_topic_ids"]} | (
        {row["trigger_topic_id"]} if row["trigger_topic_id"] is not None else set()
    )
    return {TopicId(topic) for topic in own} | topic_ids_in(steps)


async def _slugs(executor: Executor, topics: Collection[TopicId]) -> dict[TopicId, str]:
    if not topics:
        return {}
    return {TopicId(row["id"]): row["slug"] for row in await executor.fetch(SQL["topics"], sorted(topics))}


def _definition(
    row: asyncpg.Record, steps: Sequence[StoredStep], topics: Mapping[TopicId, str]
) -> DripDefinition:
    trigger = DripTrigger(row["trigger"])
    definition = DripDefinition(
        name=row["name"],
        trigger=trigger,
        topic=None if row["trigger_topic_id"] is None else topics[TopicId(row["trigger_topic_id"])],
        event=row["trigger_event"],
        re_enroll=ReEnroll(row["re_enroll"]),
        catch_up=CatchUp(row["catch_up"]),
        zone=DripZone(row["zone"]),
        window=_window(row),
        exit_topics=tuple(topics[TopicId(topic)] for topic in row["exit_topic_ids"] if topic in topics),
        goals=tuple(row["goal_events"]),
        evergreen=row["evergreen"],
        max_per_hour=row["max_per_hour"],
        state=WrittenState.DRAFT if row["state"] == DripState.DRAFT else None,
        version=row["version"],
        steps=from_stored(steps, topics),
    )
    if trigger is not DripTrigger.DATE:
        return definition
    return replace(
        definition,
        field=row["trigger_field"],
        days=row["trigger_days"],
        yearly=row["trigger_yearly"],
        at=row["trigger_time"],
    )


def _window(row: asyncpg.Record) -> Window | None:
    if row["window_start"] is None:
        return None
    return Window(opens=row["window_start"], closes=row["window_end"], days=tuple(row["window_days"]))


def _step(row: asyncpg.Record) -> StoredStep:
    return StoredStep(
        id=StepId(row["id"]),
        position=row["position"],
        delay=row["delay"],
        kind=StepKind(row["kind"]),
        label=row["label"],
        topic_id=None if row["topic_id"] is None else TopicId(row["topic_id"]),
        params=row["params"],
        subject=row["subject"],
        html=row["html"],
        body_text=row["body_text"],
    )
