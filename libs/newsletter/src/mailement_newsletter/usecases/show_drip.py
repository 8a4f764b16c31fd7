"""Show a drip: what it is, how its steps fare, and who waits where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.ids import DripId, StepId
from mailement_newsletter.rules.drip_definition import DripDefinition, DripState
from mailement_newsletter.usecases.drip_rows import Executor, Numbers, load_drip, numbers_of

SQL: Final = queries_beside(__file__)

# So many active runs are looked at, those that are due first; of more, the waiting are known to be at least as many.
_MOST_RUNS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNumbers:
    """How often a step ran or was skipped, what became of its mails, and how many runs wait for it now."""

    ran: int = 0
    skipped: int = 0
    sent: int = 0
    failed: int = 0
    uncertain: int = 0
    cancelled: int = 0
    opened: int = 0
    clicked: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DripWork:
    """What the scheduler has still to do for all runs or subscribers. `error`: why it was refused last, `attempts` times so far.

    `kind` is a word of the database's, which may be one of a later release.
    """

    kind: str
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DripReport:
    """`steps` in the order of the definition's. `waiting_is_exact` False: at least so many wait."""

    id: DripId
    state: DripState
    version: int
    definition: DripDefinition
    numbers: Numbers
    steps: Sequence[StepNumbers]
    waiting_is_exact: bool
    work: Sequence[DripWork]
    timezone: str
    created_at: datetime
    updated_at: datetime


async def show_drip(
    executor: Executor, brand: BrandId, drip: DripId, *, most_runs: int = _MOST_RUNS
) -> DripReport:
    """Raises DripNotFound."""
    rows = await load_drip(executor, brand, drip)
    counts = await load_counts(executor, drip)
    positions = [step.position for step in rows.steps]
    waiting = await executor.fetchrow(SQL["waiting"], drip, positions, most_runs + 1)
    assert waiting is not None
    by_place = dict(zip(waiting["places"], waiting["runs"], strict=True))
    work = await executor.fetch(SQL["work"], drip)
    return DripReport(
        id=drip,
        state=rows.state,
        version=rows.version,
        definition=rows.definition,
        numbers=numbers_of(counts.get(StepId(0), {})),
        steps=[
            StepNumbers(
                **{
                    what: max(0, counts.get(step.id, {}).get(what, 0))
                    for what in StepNumbers.__dataclass_fields__
                    if what != "waiting"
                },
                waiting=by_place.get(place, 0),
            )
            for place, step in enumerate(rows.steps)
        ],
        waiting_is_exact=sum(waiting["runs"]) <= most_runs,
        work=[DripWork(**row) for row in work],
        timezone=rows.timezone,
        created_at=rows.created_at,
        updated_at=rows.updated_at,
    )


async def load_counts(executor: Executor, drip: DripId) -> Mapping[StepId, Mapping[str, int]]:
    """All that is counted of a drip; under 0 what is counted of the drip itself."""
    counts: dict[StepId, dict[str, int]] = {}
    for row in await executor.fetch(SQL["counts"], drip):
        counts.setdefault(StepId(row["step_id"]), {})[row["what"]] = row["n"]
    return counts
