"""Writing a drip and its steps: what creating and editing one have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.events.types import EventType
from mailement_common.ids import BrandId
from mailement_newsletter.errors import DripFault, InvalidDrip
from mailement_newsletter.ids import DripId, StepId, TopicId
from mailement_newsletter.rules.drip_definition import (
    DripDefinition,
    DripTrigger,
    DripZone,
    Send,
    Webhook,
    fields_of,
    topics_of,
)
from mailement_newsletter.rules.drip_reading import Place
from mailement_newsletter.rules.drip_storage import StoredStep
from mailement_newsletter.usecases.check_mails import check_mails
from mailement_newsletter.usecases.drip_rows import Executor

SQL: Final = queries_beside(__file__)

# The field in which a subscriber may name his time zone.
_ZONE_FIELD: Final = "timezone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """`warnings`: what is odd about it, though it can be done."""

    id: DripId
    version: int
    warnings: tuple[DripFault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The ids of the topics that a definition speaks of, and what is odd about it."""

    topics: Mapping[str, TopicId]
    warnings: tuple[DripFault, ...]


async def check_definition(
    executor: Executor,
    brand: BrandId,
    definition: DripDefinition,
    *,
    drip: DripId | None = None,
    known: Sequence[object] = (),
) -> Checked:
    """Whether the brand has what the definition speaks of, and whether its mails can be rendered.

    `drip`: the one that the definition is to be of; None: a new one. `known`: mails that are there already, and are not
    looked at again. Raises InvalidDrip, TooBusy.
    """
    row = await executor.fetchrow(
        SQL["look_up"],
        brand,
        list(topics_of(definition)),
        EventType.DRIP_WEBHOOK,
        definition.name,
        drip,
    )
    assert row is not None
    topics = {slug: TopicId(topic) for slug, topic in zip(row["slugs"], row["topic_ids"], strict=True)}
    fields = frozenset(row["fields"])
    faults = _missing(topics_of(definition), topics, "topic") + _missing(
        fields_of(definition), fields, "field"
    )
    if row["name_is_taken"]:
        faults.append(_name_is_taken(definition.name))
    mails = [
        (number, step.action)
        for number, step in enumerate(definition.steps)
        if isinstance(step.action, Send) and step.action not in known
    ]
    found = await check_mails(brand, mails, fields)
    warnings = found.warnings
    if faults or found.errors:
        raise InvalidDrip([*faults, *found.errors])
    if definition.zone is DripZone.SUBSCRIBER and _ZONE_FIELD not in fields:
        told = f"the brand has no field `{_ZONE_FIELD}`: everybody's zone is the brand's"
        warnings.append(DripFault("zone", told))
    if not row["hears_webhooks"]:
        warnings += _unheard(definition)
    return Checked(topics=topics, warnings=tuple(warnings))


def _name_is_taken(name: str) -> DripFault:
    return DripFault("name", f"the brand has a drip {name!r} already")


def _unheard(definition: DripDefinition) -> list[DripFault]:
    told = f"no webhook of the brand asks for the event `{EventType.DRIP_WEBHOOK}`: nobody is told"
    return [
        DripFault(f"steps.{number}.webhook", told)
        for number, step in enumerate(definition.steps)
        if isinstance(step.action, Webhook)
    ]


def _missing(asked: Mapping[str, Place], there: object, what: str) -> list[DripFault]:
    assert isinstance(there, (Mapping, frozenset))
    return [
        DripFault(".".join(map(str, at)), f"the brand has no {what} {name!r}")
        for name, at in asked.items()
        if name not in there
    ]


async def write_drip(
    connection: Connection,
    brand: BrandId,
    drip: DripId | None,
    definition: DripDefinition,
    topics: Mapping[str, TopicId],
    state: str,
) -> tuple[DripId, int]:
    """The row of a drip, a new one or the one of this id; its id and version. Raises InvalidDrip: the name is taken."""
    is_date = definition.trigger is DripTrigger.DATE
    window = definition.window
    values = (
        definition.name,
        state,
        definition.trigger,
        None if definition.topic is None else topics[definition.topic],
        definition.event,
        definition.field,
        definition.days if is_date else None,
        definition.yearly,
        definition.at,
        definition.re_enroll,
        definition.catch_up,
        definition.zone,
        None if window is None else window.opens,
        None if window is None else window.closes,
        [1, 2, 3, 4, 5, 6, 7] if window is None else list(window.days),
        [topics[slug] for slug in definition.exit_topics],
        list(definition.goals),
        definition.evergreen,
        definition.max_per_hour,
    )
    try:
        # A savepoint: the caller's transaction outlives the refusal.
        async with connection.transaction():
            if drip is None:
                row = await connection.fetchrow(SQL["insert_drip"], brand, *values)
            else:
                row = await connection.fetchrow(SQL["update_drip"], drip, *values)
    except asyncpg.UniqueViolationError as error:
        raise InvalidDrip([_name_is_taken(definition.name)]) from error
    assert row is not None
    return DripId(row["id"]), row["version"]


async def new_step_ids(connection: Connection, count: int) -> list[StepId]:
    """Known before the steps are written: a condition names steps that come after it."""
    return [StepId(row["id"]) for row in await connection.fetch(SQL["new_step_ids"], count)]


async def write_steps(
    connection: Connection, drip: DripId, steps: Sequence[StoredStep], deleted: Sequence[StepId] = ()
) -> None:
    """Steps are put in or written over by their id; labels and places may go from one to another."""
    await connection.execute(SQL["free_labels"], drip, list(deleted))
    await connection.execute(
        SQL["write_steps"],
        drip,
        [
            {
                "id": step.id,
                "position": step.position,
                "seconds": step.delay.total_seconds(),
                "kind": step.kind,
                "label": step.label,
                "topic_id": step.topic_id,
                "params": step.params,
                "subject": step.subject,
                "html": step.html,
                "body_text": step.body_text,
            }
            for step in steps
        ],
    )


async def ask_for(connection: Connection, drip: DripId, kind: str) -> None:
    """Work on all runs or subscribers of the drip, that the scheduler does in slices."""
    await connection.execute(SQL["add_job"], drip, kind)
