"""Simulate a drip: what somebody would get and when, by the functions that the scheduler itself reckons with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.commands import ByEmail, ById, Scalar
from mailement_newsletter.errors import SubscriberNotFound
from mailement_newsletter.ids import DripId, RunId, StepId
from mailement_newsletter.rules.drip_conditions import OWN_FIELDS, parts
from mailement_newsletter.rules.drip_definition import (
    Branch,
    CatchUp,
    DripState,
    DripTrigger,
    ExitReason,
    ReEnroll,
    Send,
    StepKind,
)
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases.drip_rows import DripRows, Executor, load_drip
from mailement_newsletter.usecases.who import identifiers

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Somebody:
    """A person who need not exist. `topics` by slug; what the brand does not have is as if it were not said.

    `own_fields` are among OWN_FIELDS.
    """

    topics: tuple[str, ...] = ()
    own_fields: Mapping[str, str] = field(default_factory=dict)
    custom_fields: Mapping[str, Scalar] = field(default_factory=dict)

    @classmethod
    def of(cls, fields: Mapping[str, str], *, topics: tuple[str, ...] = ()) -> Somebody:
        """`fields` as conditions name them: a subscriber's own, and those of the brand's making."""
        return cls(
            topics=topics,
            own_fields={key: value for key, value in fields.items() if key in OWN_FIELDS},
            custom_fields={key: value for key, value in fields.items() if key not in OWN_FIELDS},
        )


Whom: TypeAlias = ByEmail | ById | Somebody


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStep:
    """`number`: its place among the drip's steps, from 1. `at` is when it runs, `local` the same in `timezone`.

    `plain_at`: when its delay alone would be over; later than that it is by a window or a moment that it waits for.
    `skipped`: a mail that fell due before the drip was resumed. `holds`: of a condition.
    """

    number: int
    step_id: StepId
    label: str | None
    kind: StepKind
    subject: str | None
    at: datetime
    local: datetime
    plain_at: datetime
    skipped: bool
    holds: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """`run_id`: of the run that is simulated to its end; None: one that begins at `begins_at`.

    `end`: completed, exited or waiting (for steps that are added later). `notes`: what else is to be known, in sentences.
    """

    drip_id: DripId
    subscriber_id: SubscriberId | None
    run_id: RunId | None
    begins_at: datetime
    timezone: str
    steps: Sequence[SimulatedStep]
    end: str
    end_reason: str | None
    notes: tuple[str, ...]


async def simulate_drip(
    executor: Executor, brand: BrandId, drip: DripId, whom: Whom, *, since: datetime
) -> Simulation:
    """From `since` on, with what is known today. Raises DripNotFound, SubscriberNotFound."""
    rows = await load_drip(executor, brand, drip)
    start = await _start(executor, rows, whom, since)
    if start["status"] not in (SubscriberStatus.CONFIRMED, SubscriberStatus.PENDING):
        found: Sequence[asyncpg.Record] = []
    else:
        found = await executor.fetch(
            SQL["walk"],
            brand,
            drip,
            start["subscriber_id"],
            await _facts(executor, brand, whom),
            start["run_id"],
            start["cursor_pos"],
            start["anchor_at"],
            start["next_run_at"],
            _skips_before(rows, since),
            since,
        )
    steps = _steps(rows, found)
    end, reason = _end(rows, found, start)
    return Simulation(
        drip_id=drip,
        subscriber_id=start["subscriber_id"],
        run_id=start["run_id"],
        begins_at=start["anchor_at"],
        timezone=start["timezone"],
        steps=steps,
        end=end,
        end_reason=reason,
        notes=tuple(_notes(rows, start, steps)),
    )


async def _start(executor: Executor, rows: DripRows, whom: Whom, since: datetime) -> dict[str, Any]:
    """Where it begins: in the run that the person is in, or with a new one."""
    if isinstance(whom, Somebody):
        facts = dict(whom.custom_fields)
        zone = await executor.fetchval(SQL["zone"], rows.definition.zone, rows.brand_id, facts)
        start: dict[str, Any] = {
            "subscriber_id": None,
            "status": SubscriberStatus.CONFIRMED,
            "timezone": zone,
        }
        start |= {"run_id": None, "last_run": None, "begins_at": None}
    else:
        found = await executor.fetchrow(SQL["start"], rows.brand_id, rows.id, *identifiers(whom), since)
        if found is None:
            raise SubscriberNotFound
        start = dict(found)
    if start["run_id"] is None:
        # A date trigger begins on its day.
        start |= {"cursor_pos": 0, "anchor_at": start["begins_at"] or since, "next_run_at": None}
    elif start["next_run_at"] is None and start["status"] == SubscriberStatus.PENDING:
        start["anchor_at"] = since
    return start


async def _facts(executor: Executor, brand: BrandId, whom: Whom) -> Mapping[str, Any] | None:
    """Of somebody who need not exist, a row of `subscribers` as JSON."""
    if not isinstance(whom, Somebody):
        return None
    topics = await executor.fetch(SQL["topics"], brand, list(whom.topics))
    return {
        "id": 0,
        "brand_id": brand,
        "email": "somebody@example.com",
        **whom.own_fields,
        "custom_fields": dict(whom.custom_fields),
        "topic_ids": [row["id"] for row in topics],
        "status": SubscriberStatus.CONFIRMED,
    }


def _skips_before(rows: DripRows, since: datetime) -> datetime | None:
    """A paused drip is simulated as if it were resumed at `since`."""
    if rows.state is DripState.PAUSED:
        return since if rows.definition.catch_up is CatchUp.SKIP else None
    return rows.skip_due_before


def _steps(rows: DripRows, found: Sequence[asyncpg.Record]) -> list[SimulatedStep]:
    numbers = {step.id: number for number, step in enumerate(rows.definition.steps, start=1)}
    steps: list[SimulatedStep] = []
    for row in found:
        number = numbers[StepId(row["step_id"])]
        step = rows.definition.steps[number - 1]
        steps.append(
            SimulatedStep(
                number=number,
                step_id=StepId(row["step_id"]),
                label=step.label,
                kind=StepKind(row["kind"]),
                subject=step.action.subject if isinstance(step.action, Send) else None,
                at=row["ran_at"],
                local=row["local"],
                plain_at=row["plain_at"],
                skipped=row["skips"],
                holds=row["holds"],
            )
        )
    return steps


def _end(rows: DripRows, found: Sequence[asyncpg.Record], start: Mapping[str, Any]) -> tuple[str, str | None]:
    if start["status"] not in (SubscriberStatus.CONFIRMED, SubscriberStatus.PENDING):
        return "exited", ExitReason(start["status"])
    if found and found[-1]["end_reason"] is not None:
        return "exited", found[-1]["end_reason"]
    return ("waiting" if rows.definition.evergreen else "completed"), None


def _notes(rows: DripRows, start: Mapping[str, Any], steps: Sequence[SimulatedStep]) -> list[str]:
    definition = rows.definition
    notes: list[str] = []
    match rows.state:
        case DripState.DRAFT:
            notes.append("The drip is a draft: nobody can be enrolled before it goes live.")
        case DripState.ARCHIVED:
            notes.append("The drip is archived: nothing of it runs any more.")
        case DripState.PAUSED:
            notes.append(
                "The drip is paused: this is reckoned as if it were resumed at the moment asked for."
            )
        case DripState.LIVE:
            pass
    if start["status"] == SubscriberStatus.PENDING:
        notes.append(
            "The subscriber is not confirmed: this is reckoned as if that happened at the moment asked for."
        )
    if start["run_id"] is None and start["last_run"] is not None and definition.re_enroll is ReEnroll.NEVER:
        notes.append("The subscriber was in this drip before, and it takes nobody twice.")
    if (
        definition.trigger is DripTrigger.DATE
        and start["run_id"] is None
        and start["subscriber_id"] is not None
        and start["begins_at"] is None
    ):
        notes.append(
            f"The subscriber's field `{definition.field}` holds no date to come: the trigger does not fire."
        )
    if definition.max_per_hour is not None:
        notes.append(
            f"The drip sends at most {definition.max_per_hour} mails an hour: with many due at once it may be later."
        )
    if _asks_of_mails_to_come(rows, steps):
        notes.append("Mails that are not sent yet are taken as not opened and not clicked.")
    return notes


def _asks_of_mails_to_come(rows: DripRows, steps: Sequence[SimulatedStep]) -> bool:
    coming = {step.label for step in steps if step.kind is StepKind.SEND and not step.skipped}
    conditions = [
        rows.definition.steps[step.number - 1].action for step in steps if step.kind is StepKind.CONDITION
    ]
    return any(
        part.get("opened", part.get("clicked")) in coming
        for branch in conditions
        if isinstance(branch, Branch)
        for part, _ in parts(branch.condition, ())
        if "opened" in part or "clicked" in part
    )
