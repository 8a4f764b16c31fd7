"""Enroll: put a subscriber into any drip of the brand, whatever its trigger. As often as the drip's policy allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import SubscriberId
from mailement_newsletter.commands import Enroll
from mailement_newsletter.errors import CannotEnroll, DripNotFound, SubscriberNotFound
from mailement_newsletter.ids import RunId
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.drip_rows import Executor, transaction
from mailement_newsletter.usecases.restart_runs import restart_runs
from mailement_newsletter.usecases.who import identifiers

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    subscriber_id: SubscriberId
    drip_id: int
    already_enrolled: bool


async def enroll(pool: asyncpg.Pool, command: Enroll) -> Enrolled:
    """Carries the command out and commits. Raises DripNotFound, SubscriberNotFound, CannotEnroll."""
    row = await _enroll(pool, command)
    if row["gives_way"] is not None:
        async with transaction(pool) as connection:
            row = await _begin_anew(connection, command)
    if row["drip_id"] is None:
        raise DripNotFound
    if row["subscriber_id"] is None:
        raise SubscriberNotFound
    if not row["enrolled"] and not row["known"]:
        _refuse(row)
    return Enrolled(
        subscriber_id=SubscriberId(row["subscriber_id"]),
        drip_id=row["drip_id"],
        already_enrolled=not row["enrolled"],
    )


async def _begin_anew(connection: Connection, command: Enroll) -> asyncpg.Record:
    # Asked once more: from here on nobody who leaves comes in between.
    row = await _enroll(connection, command)
    if row["gives_way"] is None:
        return row
    await restart_runs(connection, [RunId(row["gives_way"])])
    return await _enroll(connection, command)


async def _enroll(executor: Executor, command: Enroll) -> asyncpg.Record:
    row = await executor.fetchrow(
        SQL["enroll"],
        command.brand_id,
        *identifiers(command.who),
        command.drip_id,
        command.traceparent,
    )
    assert row is not None
    return row


def _refuse(row: asyncpg.Record) -> None:
    """Raises CannotEnroll with the reason; returns if a concurrent call was merely faster."""
    if row["drip_state"] in ("draft", "archived"):
        raise CannotEnroll(f"drip_{row['drip_state']}")
    if not row["has_steps"]:
        raise CannotEnroll("drip_has_no_steps")
    status = SubscriberStatus(row["subscriber_status"])
    if status not in (SubscriberStatus.PENDING, SubscriberStatus.CONFIRMED):
        raise CannotEnroll(f"subscriber_{status}")
