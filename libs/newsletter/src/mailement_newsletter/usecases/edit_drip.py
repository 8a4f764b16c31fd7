"""Edit a drip: its steps and settings change under those who are in it. Nobody goes back, nobody loses a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_newsletter.errors import VersionConflict
from mailement_newsletter.ids import DripId, StepId
from mailement_newsletter.rules.drip_definition import DripDefinition, DripState, DripTrigger, StepKind
from mailement_newsletter.rules.drip_edits import place, respaced
from mailement_newsletter.rules.drip_storage import StoredStep, to_stored
from mailement_newsletter.usecases.drip_changes import EditDrip, PlannedEdit, plan_drip_edit
from mailement_newsletter.usecases.drip_rows import Executor, load_drip, transaction
from mailement_newsletter.usecases.drip_writes import Saved, ask_for, new_step_ids, write_drip, write_steps

SQL: Final = queries_beside(__file__)

# Edits of one drip at the same moment take turns; whoever comes second thinks again.
_MOST_TRIES: Final = 5


async def edit_drip(executor: Executor, edit: EditDrip) -> Saved:
    """Raises DripNotFound, DripArchived, VersionConflict, InvalidDrip, TooBusy."""
    version = 0
    for _ in range(_MOST_TRIES):
        planned = await plan_drip_edit(executor, edit)
        async with transaction(executor) as connection:
            rows = await load_drip(connection, edit.brand_id, edit.drip_id, lock=True)
            version = rows.version
            if version == planned.rows.version and rows.state is planned.rows.state:
                return await _carry_out(connection, planned)
    raise VersionConflict(version)


async def _carry_out(connection: Connection, planned: PlannedEdit) -> Saved:
    drip, definition = planned.rows.id, planned.definition
    _, version = await write_drip(
        connection, planned.rows.brand_id, drip, definition, planned.topics, planned.state
    )
    positions = planned.positions
    if positions is None:
        positions = await _make_room(connection, drip, planned)
    ids = await _ids(connection, planned.steps.matched)
    steps = to_stored(definition.steps, ids, positions, planned.topics)
    await write_steps(connection, drip, steps, planned.steps.deleted)
    if _timing(planned.rows.steps, planned.rows.definition) != _timing(steps, definition):
        await ask_for(connection, drip, "retime")
    await _plan_dates(connection, planned)
    return Saved(id=drip, version=version, warnings=planned.warnings)


async def _ids(connection: Connection, matched: Sequence[StepId | None]) -> list[StepId]:
    fresh = iter(await new_step_ids(connection, sum(1 for step in matched if step is None)))
    return [next(fresh) if step is None else step for step in matched]


async def _make_room(connection: Connection, drip: DripId, planned: PlannedEdit) -> list[int]:
    """All steps of the drip get new positions in the same order, and the runs are to stand where they stood.

    Nobody goes by positions meanwhile: no run of a draft has begun, and a paused drip stays so until its runs are moved.
    """
    mapping = respaced([*planned.rows.gone, *(step.position for step in planned.rows.steps)])
    old, new = list(mapping), list(mapping.values())
    await connection.execute(SQL["respace"], drip, old, new)
    if planned.rows.state is not DripState.DRAFT:
        await connection.execute(SQL["move_runs"], drip, old, new)
    positions = place(
        [None if position is None else mapping[position] for position in planned.order],
        gone=[mapping[position] for position in planned.rows.gone],
        leaving=[mapping[position] for position in planned.leaving],
    )
    assert positions is not None, "there is room now"
    return positions


def _timing(steps: Sequence[StoredStep], definition: DripDefinition) -> object:
    """What decides when a run's next step is due."""
    return (
        definition.evergreen,
        definition.zone,
        definition.window,
        [
            (
                step.id,
                step.position,
                step.delay,
                step.kind,
                step.params if step.kind is StepKind.WAIT_UNTIL else None,
            )
            for step in steps
        ],
    )


async def _plan_dates(connection: Connection, planned: PlannedEdit) -> None:
    """A date trigger that has changed, or begins to work, is planned anew for every subscriber.

    Until that is done nobody begins by the old plan: whether it is the day is asked once more when it has come.
    """
    before, after = planned.rows.definition, planned.definition
    begins = planned.rows.state is DripState.DRAFT and planned.state is DripState.LIVE
    if after.trigger is not DripTrigger.DATE:
        if before.trigger is DripTrigger.DATE:
            await ask_for(connection, planned.rows.id, "forget_dates")
    elif begins or _dates(before) != _dates(after):
        await ask_for(connection, planned.rows.id, "plan_dates")


def _dates(definition: DripDefinition) -> Mapping[str, object]:
    if definition.trigger is not DripTrigger.DATE:
        return {}
    return {
        "field": definition.field,
        "days": definition.days,
        "yearly": definition.yearly,
        "at": definition.at,
        "zone": definition.zone,
    }
