"""Advance drips: due steps become rows of the mail ledger, and their enrolments move on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_newsletter.ids import DripId, RunId

SQL: Final = queries_beside(__file__)

# From which moment on a drip's due steps are looked for; drips that are missing are looked through from the first.
Floors = Mapping[DripId, datetime]
NO_FLOORS: Final[Floors] = MappingProxyType({})


class Share(NamedTuple):
    """Every `of`th drip, beginning with the `part`th: batches of different shares never meet."""

    part: int
    of: int


ALL_DRIPS: Final = Share(part=0, of=1)

# How often a step is tried before its run is shown as failed: over a quarter of an hour.
MAX_TRIES: Final = 5
# What a row of somebody's data can make the database say. It says so every time, so trying again as a whole is no help.
REFUSED: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.QueryCanceledError,
    asyncpg.RaiseError,
    asyncpg.StatementTooComplexError,
)
# Of a drip whose batch was refused, before the others have their turn again.
_ONE_BY_ONE: Final = 50
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
    pool: asyncpg.Pool,
    *,
    now: datetime,
    behind: int,
    batch: int,
    share: Share = ALL_DRIPS,
    floors: Floors = NO_FLOORS,
) -> Advanced:
    """One batch, one transaction. Drips are served in turn, beginning behind the id `behind`.

    Raises one of REFUSED when a row's data do not let it pass: then nothing of the batch was done.
    """
    return await _advance(pool, now, behind, batch, share=share, floors=floors)


async def advance_apart(
    pool: asyncpg.Pool, *, now: datetime, behind: int, batch: int, share: Share = ALL_DRIPS
) -> Advanced:
    """After a refusal: drip by drip, and the drip that is refused run by run. A run that is refused is postponed.

    One run that the database refuses must hold up neither its drip nor the others.
    """
    done = Advanced(due=0, queued=0, last_drip_id=behind, drips={})
    for row in await pool.fetch(SQL["due_drips"], now, behind, batch, *share):
        drip = DripId(row["id"])
        try:
            part = await _advance(pool, now, 0, batch, drip=drip)
        except REFUSED:
            part = await _one_by_one(pool, now, drip)
        done = Advanced(
            due=done.due + part.due, queued=done.queued + part.queued, last_drip_id=drip, drips=part.drips
        )
    return done


async def _one_by_one(pool: asyncpg.Pool, now: datetime, drip: DripId) -> Advanced:
    due = queued = 0
    for row in await pool.fetch(SQL["due_runs"], drip, now, _ONE_BY_ONE):
        run = RunId(row["id"])
        try:
            one = await _advance(pool, now, 0, 1, drip=drip, run=run)
        except REFUSED as error:
            reason = f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]
            await pool.execute(SQL["postpone"], run, now, reason, MAX_TRIES)
            due += 1
        else:
            due, queued = due + one.due, queued + one.queued
    return Advanced(due=due, queued=queued, last_drip_id=drip, drips={})


async def next_due(
    pool: asyncpg.Pool, share: Share = ALL_DRIPS, floors: Floors = NO_FLOORS
) -> datetime | None:
    """When the next step is due; None when nothing waits."""
    moment: datetime | None = await pool.fetchval(
        SQL["next_due"], list(floors), list(floors.values()), *share
    )
    return moment


async def _advance(
    pool: asyncpg.Pool,
    now: datetime,
    behind: int,
    batch: int,
    *,
    share: Share = ALL_DRIPS,
    floors: Floors = NO_FLOORS,
    drip: DripId | None = None,
    run: RunId | None = None,
) -> Advanced:
    """Of all drips, of one, or of one run of it."""
    row = await pool.fetchrow(
        SQL["advance"], now, behind, batch, list(floors), list(floors.values()), drip, run, *share
    )
    assert row is not None
    claimed = zip(row["drip_ids"], row["taken"], row["reached"], strict=True)
    return Advanced(
        due=row["due"],
        queued=row["queued"],
        last_drip_id=row["last_drip_id"],
        drips={DripId(drip): Claimed(taken=taken, reached=reached) for drip, taken, reached in claimed},
    )
