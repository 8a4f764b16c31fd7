"""Resume a drip; and see beforehand what that does to those who have fallen behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import DripIsRespaced
from mailement_newsletter.ids import DripId
from mailement_newsletter.rules.drip_definition import CatchUp, DripState
from mailement_newsletter.usecases.drip_rows import Executor, load_drip, transaction
from mailement_newsletter.usecases.pause_drip import refuse_unless_started

SQL: Final = queries_beside(__file__)

_MOST_COUNTED: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """`overdue`: steps that fell due meanwhile; not `is_exact`: at least so many.

    By `catch_up` they are carried out now, at most `max_per_hour` of them, or the mails among them are left out.
    `was`: the state before; a live drip stays as it is.
    """

    was: DripState
    overdue: int
    is_exact: bool
    oldest_due_at: datetime | None
    catch_up: CatchUp
    max_per_hour: int | None


async def resume_drip(executor: Executor, brand: BrandId, drip: DripId, *, dry_run: bool = False) -> Resumed:
    """`dry_run`: nothing is changed. Raises DripNotFound, DripArchived, DripIsADraft, DripIsRespaced."""
    rows = await load_drip(executor, brand, drip)
    was = refuse_unless_started(rows.state)
    overdue = await executor.fetchrow(SQL["overdue"], drip, _MOST_COUNTED + 1)
    assert overdue is not None
    if dry_run:
        await _refuse_while_respaced(executor, drip)
    else:
        was = await _resume(executor, brand, drip)
    return Resumed(
        was=was,
        overdue=min(overdue["runs"], _MOST_COUNTED),
        is_exact=overdue["runs"] <= _MOST_COUNTED,
        oldest_due_at=overdue["oldest_due_at"],
        catch_up=rows.definition.catch_up,
        max_per_hour=rows.definition.max_per_hour,
    )


async def _resume(executor: Executor, brand: BrandId, drip: DripId) -> DripState:
    async with transaction(executor) as connection:
        # An edit holds the same lock: its job is seen here, or it sees that the drip is live.
        was = refuse_unless_started(await connection.fetchval(SQL["lock"], drip, brand))
        await _refuse_while_respaced(connection, drip)
        await connection.execute(SQL["resume"], drip)
    return was


async def _refuse_while_respaced(executor: Executor, drip: DripId) -> None:
    if await executor.fetchval(SQL["is_respaced"], drip):
        raise DripIsRespaced
