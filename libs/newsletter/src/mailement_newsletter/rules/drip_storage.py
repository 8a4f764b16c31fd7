"""How a drip's steps lie in the database: topics and other steps by id, what only one kind has in `params`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from typing import Any, assert_never

from mailement_newsletter.ids import StepId, TopicId
from mailement_newsletter.rules.drip_conditions import parts, stored, written
from mailement_newsletter.rules.drip_definition import (
    EXIT,
    Action,
    AddTopic,
    Branch,
    Delay,
    Exit,
    RemoveTopic,
    Send,
    Step,
    StepKind,
    WaitUntil,
    Webhook,
    kind_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """A row of drip_steps."""

    id: StepId
    position: int
    delay: timedelta
    kind: StepKind
    label: str | None = None
    topic_id: TopicId | None = None
    params: Mapping[str, Any]
    subject: str | None = None
    html: str | None = None
    body_text: str | None = None


def to_stored(
    steps: Sequence[Step],
    ids: Sequence[StepId],
    positions: Sequence[int],
    topics: Mapping[str, TopicId],
) -> list[StoredStep]:
    """`ids` and `positions` in the order of `steps`. KeyError: a topic is missing."""
    labels = {step.label: step_id for step, step_id in zip(steps, ids, strict=True) if step.label is not None}
    return [
        _to_stored(step, step_id, position, topics, labels)
        for step, step_id, position in zip(steps, ids, positions, strict=True)
    ]


def _to_stored(
    step: Step,
    step_id: StepId,
    position: int,
    topics: Mapping[str, TopicId],
    labels: Mapping[str, StepId],
) -> StoredStep:
    row = StoredStep(
        id=step_id,
        position=position,
        delay=step.delay,
        kind=kind_of(step.action),
        label=step.label,
        params={},
    )
    match step.action:
        case Send() as mail:
            return replace(row, subject=mail.subject, html=mail.html, body_text=mail.text)
        case Delay():
            return row
        case WaitUntil() as wait:
            params = {
                "date": wait.on and wait.on.isoformat(),
                "weekdays": wait.weekdays and list(wait.weekdays),
                "time": None if wait.at is None else wait.at.strftime("%H:%M"),
            }
            return replace(row, params={key: value for key, value in params.items() if value is not None})
        case Branch() as branch:
            return replace(
                row,
                params={
                    "if": stored(branch.condition, topics, labels),
                    "then": branch.then and labels[branch.then],
                    "otherwise": branch.otherwise
                    and (EXIT if branch.otherwise == EXIT else labels[branch.otherwise]),
                },
            )
        case AddTopic(slug=slug) | RemoveTopic(slug=slug):
            return replace(row, topic_id=topics[slug])
        case Webhook(name=name):
            return replace(row, params={"name": name})
        case Exit(reason=reason):
            return replace(row, params={} if reason is None else {"reason": reason})
        case _:
            assert_never(step.action)


def from_stored(rows: Sequence[StoredStep], topics: Mapping[TopicId, str]) -> tuple[Step, ...]:
    """As people write them, with their ids. A step without a label that others speak of gets one."""
    referred = {step_id for row in rows for step_id in _referred_to(row)}
    labels = {
        row.id: row.label or f"step-{row.id}" for row in rows if row.label is not None or row.id in referred
    }
    return tuple(
        Step(action=_action(row, topics, labels), delay=row.delay, label=labels.get(row.id), id=row.id)
        for row in rows
    )


def topic_ids_in(rows: Sequence[StoredStep]) -> set[TopicId]:
    found = {row.topic_id for row in rows if row.topic_id is not None}
    for row in rows:
        for part, _ in parts(row.params.get("if", {}), ()):
            if "topic_id" in part:
                found.add(TopicId(part["topic_id"]))
    return found


def _referred_to(row: StoredStep) -> set[StepId]:
    targets = {row.params.get(lead) for lead in ("then", "otherwise")}
    for part, _ in parts(row.params.get("if", {}), ()):
        targets |= {part.get("opened"), part.get("clicked")}
    return {StepId(target) for target in targets if isinstance(target, int)}


def _action(row: StoredStep, topics: Mapping[TopicId, str], labels: Mapping[StepId, str]) -> Action:
    match row.kind:
        case StepKind.SEND:
            return Send(subject=row.subject or "", html=row.html, text=row.body_text)
        case StepKind.DELAY:
            return Delay()
        case StepKind.WAIT_UNTIL:
            given = row.params
            return WaitUntil(
                on=date.fromisoformat(given["date"]) if given.get("date") else None,
                weekdays=tuple(given["weekdays"]) if given.get("weekdays") else None,
                at=time.fromisoformat(given["time"]) if given.get("time") else None,
            )
        case StepKind.CONDITION:
            return Branch(
                condition=written(row.params["if"], topics, labels),
                then=_target(row.params.get("then"), labels),
                otherwise=_target(row.params.get("otherwise"), labels),
            )
        case StepKind.ADD_TOPIC:
            return AddTopic(_slug(row, topics))
        case StepKind.REMOVE_TOPIC:
            return RemoveTopic(_slug(row, topics))
        case StepKind.WEBHOOK:
            return Webhook(row.params.get("name") or "")
        case StepKind.EXIT:
            return Exit(row.params.get("reason"))
        case _:
            assert_never(row.kind)


def _target(target: int | str | None, labels: Mapping[StepId, str]) -> str | None:
    if target is None or isinstance(target, str):
        return target
    # A step that was deleted since: the run goes on with what stands behind its place.
    return labels.get(StepId(target))


def _slug(row: StoredStep, topics: Mapping[TopicId, str]) -> str:
    assert row.topic_id is not None, "drip_steps_topic_check"
    return topics[row.topic_id]
