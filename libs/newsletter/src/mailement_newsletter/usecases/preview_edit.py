"""Preview an edit: what it would do to those who are in the drip. Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_newsletter.errors import DripFault
from mailement_newsletter.ids import StepId
from mailement_newsletter.rules.drip_edits import place_virtually
from mailement_newsletter.rules.drip_storage import to_stored
from mailement_newsletter.usecases.drip_changes import EditDrip, PlannedEdit, plan_drip_edit
from mailement_newsletter.usecases.drip_rows import Executor, Numbers, load_numbers

SQL: Final = queries_beside(__file__)

# Up to so many active runs each of them is looked at; of more, a sample.
_MOST_RUNS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EditPreview:
    """Numbers of active runs. `is_exact` False: reckoned from a sample of them.

    `moved`: get another moment for their next step, `earlier` or `later`, or one at all (who waited at the end).
    `within_the_hour`: of those, whose next step is due within an hour then. `other_step`: whose next step is another one.
    `completing`: have no step left.
    """

    version: int
    active: int
    is_exact: bool
    moved: int
    earlier: int
    later: int
    within_the_hour: int
    other_step: int
    completing: int
    steps_kept: int
    steps_moved: int
    steps_added: int
    steps_deleted: int
    warnings: tuple[DripFault, ...] = ()


async def preview_edit(
    executor: Executor, edit: EditDrip, *, now: datetime, most_runs: int = _MOST_RUNS
) -> EditPreview:
    """Raises what `edit_drip` raises."""
    planned = await plan_drip_edit(executor, edit)
    numbers = (await load_numbers(executor, [edit.drip_id]))[edit.drip_id]
    looks_at_ends = planned.definition.evergreen or planned.rows.definition.evergreen
    # Those who wait at the end of an evergreen drip are found only among all its runs.
    is_sampled = numbers.active > most_runs or (looks_at_ends and numbers.enrolled > 5 * most_runs)
    window = planned.definition.window
    row = await executor.fetchrow(
        SQL["measure"],
        edit.drip_id,
        _steps(planned),
        [{"id": step.id, "position": step.position} for step in planned.rows.steps],
        planned.definition.zone,
        None if window is None else window.opens,
        None if window is None else window.closes,
        [1, 2, 3, 4, 5, 6, 7] if window is None else list(window.days),
        planned.definition.evergreen,
        looks_at_ends,
        is_sampled,
        now,
        most_runs,
    )
    assert row is not None
    return _preview(planned, numbers, row, is_sampled=is_sampled)


def _steps(planned: PlannedEdit) -> list[dict[str, Any]]:
    """The new steps with places among the old ones; those that come in have negative ids here."""
    positions = planned.positions or place_virtually(planned.order)
    ids = [StepId(-number - 1) if step is None else step for number, step in enumerate(planned.steps.matched)]
    rows = to_stored(planned.definition.steps, ids, [0] * len(ids), planned.topics)
    return [
        {
            "id": row.id,
            "position": position,
            "seconds": row.delay.total_seconds(),
            "kind": row.kind,
            "params": row.params,
        }
        for row, position in zip(rows, positions, strict=True)
    ]


def _preview(planned: PlannedEdit, numbers: Numbers, row: asyncpg.Record, *, is_sampled: bool) -> EditPreview:
    share = numbers.active / row["looked_at"] if is_sampled and row["looked_at"] else 1.0
    stays, matched = planned.steps.stays, planned.steps.matched
    return EditPreview(
        version=planned.rows.version,
        active=numbers.active,
        is_exact=not is_sampled,
        moved=round(row["moved"] * share),
        earlier=round(row["earlier"] * share),
        later=round(row["later"] * share),
        within_the_hour=round(row["within_the_hour"] * share),
        other_step=round(row["other_step"] * share),
        completing=round(row["completing"] * share),
        steps_kept=sum(stays),
        steps_moved=sum(1 for step in matched if step is not None) - sum(stays),
        steps_added=sum(1 for step in matched if step is None),
        steps_deleted=len(planned.steps.deleted),
        warnings=planned.warnings,
    )
