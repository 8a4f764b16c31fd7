"""Advance drips: due steps become rows of the mail ledger, and their enrolments move on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_newsletter.ids import DripId, RunId

SQL: Final = queries_beside(__file__)

# From which moment on a drip's due steps are looked for; drips that are missing are looked through from the first.
Floors = Mapping[DripId, datetime]
NO_FLOORS: Final[Floors] = MappingProxyType({})

# How often a step is tried before its run is shown as failed: over some half an hour.
MAX_TRIES: Final = 5
_ERROR_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Of one drip in a batch: how many were taken, and when the last of them was due."""

    taken: int
    reached: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """`due` enrolments were taken, `queued` messages written; the next call goes on behind `last_drip_id`."""

    due: int
    queued: int
    last_drip_id: int
    drips: Mapping[DripId, Claimed]


async def advance_drips(
    pool: asyncpg.Pool, *, now: datetime, behind: int, batch: int, floors: Floors = NO_FLOORS
) -> Advanced:
    """One batch, one transaction. Drips are served in turn, beginning behind the id `behind`.

    Raises what a step's data made the database refuse: then nothing of the batch was done (`advance_one_by_one`).
    """
    return await _advance(pool, now, behind, batch, floors, None)


async def advance_one_by_one(pool: asyncpg.Pool, *, now: datetime, batch: int) -> Advanced:
    """What `advance_drips` would take, each in a transaction of its own; those that cannot be carried out are postponed.

    One run that the database refuses must not hold up the others.
    """
    done = Advanced(due=0, queued=0, last_drip_id=0, drips={})
    for row in await pool.fetch(SQL["due_one_by_one"], now, batch):
        run = RunId(row["id"])
        try:
            one = await _advance(pool, now, 0, 1, NO_FLOORS, run)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError) as error:
            reason = f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]
            await pool.execute(SQL["postpone"], run, now, reason, MAX_TRIES)
            done = Advanced(due=done.due + 1, queued=done.queued, last_drip_id=0, drips={})
        else:
            done = Advanced(due=done.due + one.due, queued=done.queued + one.queued, last_drip_id=0, drips={})
    return done


async def next_due(pool: asyncpg.Pool, floors: Floors = NO_FLOORS) -> datetime | None:
    """When the next step is due; None when nothing waits."""
    moment: datetime | None = await pool.fetchval(SQL["next_due"], list(floors), list(floors.values()))
    return moment


async def _advance(
    pool: asyncpg.Pool, now: datetime, behind: int, batch: int, floors: Floors, only: RunId | None
) -> Advanced:
    row = await pool.fetchrow(SQL["advance"], now, behind, batch, list(floors), list(floors.values()), only)
    assert row is not None
    claimed = zip(row["drip_ids"], row["taken"], row["reached"], strict=True)
    return Advanced(
        due=row["due"],
        queued=row["queued"],
        last_drip_id=row["last_drip_id"],
        drips={DripId(drip): Claimed(taken=taken, reached=reached) for drip, taken, reached in claimed},
    )
