"""What an edit would make of a drip, thought through before anything is written: editing and previewing share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from mailement_common.ids import BrandId
from mailement_newsletter.errors import DripArchived, DripFault, InvalidDrip, VersionConflict
from mailement_newsletter.ids import DripId, StepId, TopicId
from mailement_newsletter.rules.drip_definition import (
    DripDefinition,
    DripState,
    WrittenState,
    describe,
    read_definition,
)
from mailement_newsletter.rules.drip_edits import StepsEdit, compare, place
from mailement_newsletter.usecases.drip_rows import DripRows, Executor, load_drip
from mailement_newsletter.usecases.drip_writes import check_definition

# Of a file that has said so since before the pause; who asks for nothing but that is refused.
_STAYS_PAUSED: Final = DripFault("state", "the drip is paused, which no edit ends: resume it")


@dataclass(frozen=True, slots=True, kw_only=True)
class EditDrip:
    """`described`: the whole new definition, or with `is_patch` the settings that change (`null` takes one away).

    A `version` in it refuses the edit if somebody else was faster.
    """

    brand_id: BrandId
    drip_id: DripId
    described: Mapping[str, Any]
    is_patch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEdit:
    """`order`: the places of the new steps, None for those that need one.

    `positions` None: there is no room, and some can be made, since nothing of the drip runs.
    """

    rows: DripRows
    definition: DripDefinition
    state: DripState
    steps: StepsEdit
    order: Sequence[int | None]
    leaving: Sequence[int]
    topics: Mapping[str, TopicId]
    warnings: tuple[DripFault, ...]

    @property
    def positions(self) -> list[int] | None:
        return place(self.order, gone=self.rows.gone, leaving=self.leaving)


async def plan_drip_edit(executor: Executor, edit: EditDrip) -> PlannedEdit:
    """Raises DripNotFound, DripArchived, VersionConflict, InvalidDrip, TooBusy."""
    rows = await load_drip(executor, edit.brand_id, edit.drip_id)
    if rows.state is DripState.ARCHIVED:
        raise DripArchived
    definition = _read(rows, edit)
    if definition.version not in (None, rows.version):
        raise VersionConflict(rows.version)
    state = _state(rows.state, definition.state)
    goes_on_paused = rows.state is DripState.PAUSED and definition.state is WrittenState.LIVE
    if goes_on_paused and edit.is_patch:
        raise InvalidDrip([_STAYS_PAUSED])
    steps = compare(rows.definition.steps, definition.steps)
    known = [step.action for step in rows.definition.steps]
    checked = await check_definition(executor, edit.brand_id, definition, drip=edit.drip_id, known=known)
    positions = {step.id: step.position for step in rows.steps}
    planned = PlannedEdit(
        rows=rows,
        definition=definition,
        state=state,
        steps=steps,
        order=_order(steps, positions),
        leaving=[positions[step] for step in steps.deleted],
        topics=checked.topics,
        warnings=(*checked.warnings, *([_STAYS_PAUSED] if goes_on_paused else [])),
    )
    if planned.positions is None and rows.state is DripState.LIVE:
        told = "there is no room left between two of them: pause the drip, edit it then, and resume it when its runs are moved"
        raise InvalidDrip([DripFault("steps", told)])
    return planned


def _read(rows: DripRows, edit: EditDrip) -> DripDefinition:
    now = describe(replace(rows.definition, version=None)) if edit.is_patch else {}
    return read_definition({**now, **edit.described}, known=rows.definition.steps)


def _state(now: DripState, wished: WrittenState | None) -> DripState:
    """Only a draft changes its state by an edit; the others have deeds of their own for that."""
    if now is DripState.DRAFT:
        return DripState.DRAFT if wished is None else DripState(wished)
    if wished is WrittenState.DRAFT:
        told = "a drip that has been live is no draft again: pause it, or archive it"
        raise InvalidDrip([DripFault("state", told)])
    return now


def _order(steps: StepsEdit, positions: Mapping[StepId, int]) -> list[int | None]:
    return [
        positions[step] if stays and step is not None else None
        for step, stays in zip(steps.matched, steps.stays, strict=True)
    ]
