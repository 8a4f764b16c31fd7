"""What a drip is, as people write it: in a YAML file or a JSON body. Reading one tells all its faults at once.

docs/drips.md has the format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from enum import StrEnum
from typing import Any, Final, TypeAlias, assert_never

from mailement_common.clock import LATEST_YEAR
from mailement_newsletter.errors import InvalidDrip
from mailement_newsletter.ids import StepId
from mailement_newsletter.rules import names
from mailement_newsletter.rules.drip_conditions import OWN_FIELDS, Condition, parts, read_condition
from mailement_newsletter.rules.drip_reading import (
    WEEKDAYS,
    Faults,
    Fields,
    Place,
    clock_time,
    content,
    day,
    delay,
    delay_in_words,
    flag,
    is_list,
    line,
    matching,
    several,
    weekdays,
    whole,
    word,
)

MAX_STEPS: Final = 200
_MAX_CONTENT: Final = 500_000
_MAX_LIST: Final = 50
_FURTHEST_DAYS: Final = 366
_BIGINT: Final = 2**63 - 1
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", re.ASCII)
# What a condition calls the end of the run; so no step can be called so.
EXIT: Final = "exit"


class DripState(StrEnum):
    DRAFT = "draft"
    LIVE = "live"
    PAUSED = "paused"
    ARCHIVED = "archived"


class WrittenState(StrEnum):
    """Those that a description can name."""

    DRAFT = "draft"
    LIVE = "live"


class DripTrigger(StrEnum):
    SUBSCRIBER_CONFIRMED = "subscriber_confirmed"
    TOPIC_ADDED = "topic_added"
    MANUAL = "manual"
    EVENT = "event"
    DATE = "date"


class ReEnroll(StrEnum):
    """Whether somebody who was in the drip may come again."""

    NEVER = "never"
    AFTER_END = "after_end"
    ALWAYS = "always"


class CatchUp(StrEnum):
    """What becomes of mails that fell due during a pause: they are sent afterwards, or left out."""

    SHIFT = "shift"
    SKIP = "skip"


class DripZone(StrEnum):
    """Whose time zone the drip reckons in."""

    BRAND = "brand"
    SUBSCRIBER = "subscriber"


class StepKind(StrEnum):
    SEND = "send"
    DELAY = "delay"
    WAIT_UNTIL = "wait_until"
    CONDITION = "condition"
    ADD_TOPIC = "add_topic"
    REMOVE_TOPIC = "remove_topic"
    WEBHOOK = "webhook"
    EXIT = "exit"


class ExitReason(StrEnum):
    """Why a run ended before its time, in our words; a step `exit` may have words of its own, but none of these."""

    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    DELETED = "deleted"
    GOAL = "goal"
    TOPIC_REMOVED = "topic_removed"
    RESTARTED = "restarted"
    CONDITION = "condition"
    EXIT_STEP = "exit_step"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    subject: str
    html: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """Nothing but the step's delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """A date, or the next of some weekdays, or the next such time of day."""

    on: date | None = None
    weekdays: tuple[int, ...] | None = None
    at: time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """`then`, `otherwise`: the label of a later step; None: the next one. `otherwise` may also be `exit`."""

    condition: Condition
    then: str | None = None
    otherwise: str | None = None


@dataclass(frozen=True, slots=True)
class AddTopic:
    slug: str


@dataclass(frozen=True, slots=True)
class RemoveTopic:
    slug: str


@dataclass(frozen=True, slots=True)
class Webhook:
    name: str


@dataclass(frozen=True, slots=True)
class Exit:
    reason: str | None = None


Action: TypeAlias = Send | Delay | WaitUntil | Branch | AddTopic | RemoveTopic | Webhook | Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`delay` counts from the enrolment for the first step, from the run of the step before for the others.

    `id`: of a step that is there already, where a drip is edited.
    """

    action: Action
    delay: timedelta = timedelta(0)
    label: str | None = None
    id: StepId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When mails may leave. One that closes before it opens lasts over midnight; equal ends are the whole day."""

    opens: time = time(0)
    closes: time = time(0)
    days: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class DripDefinition:
    """`topic`, `event` and `field` to `at` belong to the triggers topic_added, event and date.

    `state` None: live, or as it is. `version`: the one that an edit was made from.
    """

    name: str
    steps: Sequence[Step]
    trigger: DripTrigger = DripTrigger.MANUAL
    topic: str | None = None
    event: str | None = None
    field: str | None = None
    days: int = 0
    yearly: bool = False
    at: time = time(9)
    re_enroll: ReEnroll = ReEnroll.NEVER
    catch_up: CatchUp = CatchUp.SHIFT
    zone: DripZone = DripZone.BRAND
    window: Window | None = None
    exit_topics: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    evergreen: bool = False
    max_per_hour: int | None = None
    state: WrittenState | None = None
    version: int | None = None


def kind_of(action: Action) -> StepKind:
    match action:
        case Send():
            return StepKind.SEND
        case Delay():
            return StepKind.DELAY
        case WaitUntil():
            return StepKind.WAIT_UNTIL
        case Branch():
            return StepKind.CONDITION
        case AddTopic():
            return StepKind.ADD_TOPIC
        case RemoveTopic():
            return StepKind.REMOVE_TOPIC
        case Webhook():
            return StepKind.WEBHOOK
        case Exit():
            return StepKind.EXIT
        case _:
            assert_never(action)


def topics_of(definition: DripDefinition) -> dict[str, Place]:
    """The slugs that the drip speaks of, each with a place where it does."""
    found: dict[str, Place] = {}
    if definition.topic is not None:
        found[definition.topic] = ("topic",)
    for index, slug in enumerate(definition.exit_topics):
        found.setdefault(slug, ("exit_on", "topics", index))
    for number, step in enumerate(definition.steps):
        match step.action:
            case AddTopic(slug=slug) | RemoveTopic(slug=slug):
                found.setdefault(slug, ("steps", number, kind_of(step.action)))
            case Branch():
                for part, at in parts(step.action.condition, ("steps", number, "condition", "if")):
                    if "topic" in part:
                        found.setdefault(part["topic"], (*at, "topic"))
            case _:
                pass
    return found


def fields_of(definition: DripDefinition) -> dict[str, Place]:
    """The brand's own fields that the drip asks of, each with a place where it does."""
    found: dict[str, Place] = {}
    if definition.field is not None:
        found[definition.field] = ("field",)
    for number, step in enumerate(definition.steps):
        if isinstance(step.action, Branch):
            for part, at in parts(step.action.condition, ("steps", number, "condition", "if")):
                if part.get("field", "email") not in OWN_FIELDS:
                    found.setdefault(part["field"], (*at, "field"))
    return found


def read_definition(described: object, *, known: Sequence[Step] = ()) -> DripDefinition:
    """`known`: steps that the drip has already. Raises InvalidDrip with all that is wrong."""
    faults = Faults()
    fields = Fields(faults, described, ())
    trigger = fields.read("trigger", word(DripTrigger)) or DripTrigger.MANUAL
    definition = DripDefinition(
        name=fields.read("name", line(200), required=True) or "",
        trigger=trigger,
        **_trigger_settings(faults, fields, trigger),
        re_enroll=fields.read("re_enroll", word(ReEnroll)) or ReEnroll.NEVER,
        catch_up=fields.read("catch_up", word(CatchUp)) or CatchUp.SHIFT,
        zone=fields.read("zone", word(DripZone)) or DripZone.BRAND,
        window=fields.read("window", _window),
        exit_topics=fields.read("exit_on", _exit_on) or (),
        goals=fields.read("goals", several(_event_name, _MAX_LIST)) or (),
        evergreen=fields.read("evergreen", flag) or False,
        max_per_hour=fields.read("max_per_hour", whole(1, 10_000_000)),
        state=fields.read("state", word(WrittenState)),
        version=fields.read("version", whole(1, 2**31 - 1)),
        steps=fields.read("steps", _steps, required=True) or (),
    )
    fields.end()
    _check_references(faults, definition.steps)
    _check_novelties(faults, definition.steps, [step.action for step in known])
    if faults.found:
        raise InvalidDrip(faults.found)
    return definition


def _trigger_settings(faults: Faults, fields: Fields, trigger: DripTrigger) -> dict[str, Any]:
    """What goes with one trigger and with no other."""
    for key, owner in (
        ("topic", DripTrigger.TOPIC_ADDED),
        ("event", DripTrigger.EVENT),
        ("field", DripTrigger.DATE),
    ):
        if fields.has(key) != (trigger is owner):
            faults.add((), f"`{key}` goes with the trigger {owner}, and only with it")
    for key in fields.keys_among("days", "yearly", "time"):
        if trigger is not DripTrigger.DATE:
            faults.add((key,), "this goes with the trigger date, and only with it")
    return {
        "topic": fields.read("topic", line(names.MAX_TOPIC_SLUG)),
        "event": fields.read("event", _event_name),
        "field": fields.read("field", line(100)),
        "days": fields.read("days", whole(-_FURTHEST_DAYS, _FURTHEST_DAYS)) or 0,
        "yearly": fields.read("yearly", flag) or False,
        "at": fields.read("time", clock_time) or time(9),
    }


def _event_name(faults: Faults, value: object, at: Place) -> str | None:
    return matching(names.EVENT, "an event's name has 1 to 100 of letters, digits, _, ., : and -")(
        faults, value, at
    )


def _window(faults: Faults, value: object, at: Place) -> Window | None:
    fields = Fields(faults, value, at)
    opens = fields.read("from", clock_time)
    closes = fields.read("to", clock_time)
    days = fields.read("days", weekdays)
    fields.end()
    if fields.has("from") != fields.has("to"):
        faults.add(at, "`from` and `to` go together")
    elif opens is not None and opens == closes:
        faults.add(
            at, "a window that opens and closes at the same time is empty: leave both out for whole days"
        )
    elif fields.is_mapping and not fields.keys_among("from", "days"):
        faults.add(at, "a window has `from` and `to`, or `days`, or all of them")
    return Window(opens=opens or time(0), closes=closes or time(0), days=days or Window().days)


def _exit_on(faults: Faults, value: object, at: Place) -> tuple[str, ...] | None:
    fields = Fields(faults, value, at)
    topics = fields.read("topics", several(line(names.MAX_TOPIC_SLUG), _MAX_LIST))
    fields.end()
    return None if topics is None else tuple(dict.fromkeys(topics))


def _steps(faults: Faults, value: object, at: Place) -> tuple[Step, ...] | None:
    if not is_list(value) or not 0 < len(value) <= MAX_STEPS:
        faults.add(at, f"this is a list of 1 to {MAX_STEPS} steps")
        return None
    return tuple(_step(faults, step, (*at, number)) for number, step in enumerate(value))


_ACTIONS: Final = ("wait_until", "condition", "add_topic", "remove_topic", "webhook", "exit")
_SEND: Final = ("subject", "html", "text")


def _step(faults: Faults, value: object, at: Place) -> Step:
    fields = Fields(faults, value, at)
    step_id = fields.read("id", whole(1, _BIGINT))
    label = fields.read("label", _label)
    if fields.given_as_null("delay"):
        faults.add((*at, "delay"), "a delay is 0 or a number with a unit: leave it out for none")
    span = fields.read("delay", delay)
    action = _action(faults, fields, at)
    fields.end()
    return Step(
        action=action,
        delay=span or timedelta(0),
        label=label,
        id=None if step_id is None else StepId(step_id),
    )


def _label(faults: Faults, value: object, at: Place) -> str | None:
    told = "a label has 1 to 60 of letters, digits, _ and -, beginning with a letter or digit"
    label = matching(_LABEL, told)(faults, value, at)
    if label == EXIT:
        faults.add(at, "`exit` is what a condition calls the end: take another label")
    return label


def _action(faults: Faults, fields: Fields, at: Place) -> Action:
    kinds = fields.keys_among(*_ACTIONS)
    if fields.keys_among(*_SEND):
        kinds = ["subject", *kinds]
    if len(kinds) > 1:
        faults.add(at, f"a step does one thing: {' or '.join(kinds)}")
    if not kinds:
        if fields.is_mapping and not fields.has("delay") and not fields.given_as_null("delay"):
            faults.add(at, f"a step has a subject, or one of {', '.join(_ACTIONS)}, or at least a delay")
        return Delay()
    read = {kind: _ACTION_READERS[kind](faults, fields, at) for kind in kinds}
    return read[kinds[0]]


def _send(faults: Faults, fields: Fields, at: Place) -> Action:
    subject = fields.read("subject", line(500), required=True)
    html = fields.read("html", content(_MAX_CONTENT))
    text = fields.read("text", content(_MAX_CONTENT))
    if not fields.raw("html") and not fields.raw("text"):
        faults.add(at, "a step has html or text")
    return Send(subject=subject or "", html=html or None, text=text or None)


def _wait_until(faults: Faults, fields: Fields, at: Place) -> Action:
    at = (*at, "wait_until")
    inner = Fields(faults, fields.raw("wait_until"), at)
    wait = WaitUntil(
        on=inner.read("date", day),
        weekdays=inner.read("weekdays", weekdays),
        at=inner.read("time", clock_time),
    )
    inner.end()
    if inner.has("date") and inner.has("weekdays"):
        faults.add(at, "this waits for a date or for weekdays, not for both")
    elif inner.is_mapping and not inner.keys_among("date", "weekdays", "time"):
        faults.add(at, "this waits for a date, weekdays or a time")
    return wait


def _branch(faults: Faults, fields: Fields, at: Place) -> Action:
    at = (*at, "condition")
    inner = Fields(faults, fields.raw("condition"), at)
    if inner.is_mapping and not inner.has("if"):
        faults.add((*at, "if"), "Field required")
    condition = inner.read("if", read_condition)
    then = inner.read("then", line(60))
    otherwise = inner.read("otherwise", line(60))
    inner.end()
    if then == EXIT:
        faults.add((*at, "then"), "`exit` goes with `otherwise`: turn the condition round with `not`")
        then = None
    return Branch(condition=condition or {}, then=then, otherwise=otherwise)


def _add_topic(_: Faults, fields: Fields, _at: Place) -> Action:
    return AddTopic(fields.read("add_topic", line(names.MAX_TOPIC_SLUG)) or "")


def _remove_topic(_: Faults, fields: Fields, _at: Place) -> Action:
    return RemoveTopic(fields.read("remove_topic", line(names.MAX_TOPIC_SLUG)) or "")


def _webhook(_: Faults, fields: Fields, _at: Place) -> Action:
    return Webhook(fields.read("webhook", line(100)) or "")


def _exit(faults: Faults, fields: Fields, at: Place) -> Action:
    given = fields.raw("exit")
    if given is True:
        return Exit()
    if isinstance(given, str):
        return Exit(fields.read("exit", line(100)))
    faults.add((*at, "exit"), "this is true, or the reason in some words")
    return Exit()


_ACTION_READERS: Final = {
    "subject": _send,
    "wait_until": _wait_until,
    "condition": _branch,
    "add_topic": _add_topic,
    "remove_topic": _remove_topic,
    "webhook": _webhook,
    "exit": _exit,
}


def _check_references(faults: Faults, steps: Sequence[Step]) -> None:
    """Labels and ids stand once; a condition leads to a later step and asks of mails that an earlier one sends."""
    labels: dict[str, int] = {}
    ids: set[StepId] = set()
    for number, step in enumerate(steps):
        if step.label is not None and labels.setdefault(step.label, number) != number:
            faults.add(("steps", number, "label"), f'another step is called "{step.label}" already')
        if step.id is not None and step.id in ids:
            faults.add(("steps", number, "id"), "another step has this id already")
        elif step.id is not None:
            ids.add(step.id)
    for number, step in enumerate(steps):
        if isinstance(step.action, Branch):
            _check_branch(faults, steps, labels, number, step.action)


def _check_novelties(faults: Faults, steps: Sequence[Step], known: Sequence[Action]) -> None:
    """What an earlier release took is good where it stands: an edit elsewhere must not fail by it."""
    for number, step in enumerate(steps):
        if step.action in known:
            continue
        match step.action:
            case Exit(reason=reason) if reason in set(ExitReason):
                told = f"{reason!r} is what we call another end: take other words"
                faults.add(("steps", number, "exit"), told)
            case WaitUntil(on=date(year=year)) if year > LATEST_YEAR:
                faults.add(
                    ("steps", number, "wait_until", "date"), f"a date lies in {LATEST_YEAR} at the latest"
                )
            case _:
                pass


def _check_branch(
    faults: Faults, steps: Sequence[Step], labels: Mapping[str, int], number: int, branch: Branch
) -> None:
    at = ("steps", number, "condition")
    for key, target in (("then", branch.then), ("otherwise", branch.otherwise)):
        if target is not None and target != EXIT and labels.get(target, -1) <= number:
            faults.add((*at, key), f'no later step is called "{target}"')
    for part, place in parts(branch.condition, (*at, "if")):
        for kind in ("opened", "clicked"):
            label = part.get(kind)
            if label is None:
                continue
            index = labels.get(label, MAX_STEPS)
            if index >= number or not isinstance(steps[index].action, Send):
                faults.add((*place, kind), f'no earlier step that sends a mail is called "{label}"')


def describe(definition: DripDefinition) -> dict[str, Any]:
    """As `read_definition` reads it; what is as usual is left out."""
    trigger = {
        "topic": definition.topic,
        "event": definition.event,
        "field": definition.field,
        **(
            {
                "days": definition.days,
                "yearly": definition.yearly or None,
                "time": _clock(definition.at),
            }
            if definition.trigger is DripTrigger.DATE
            else {}
        ),
    }
    described = {
        "name": definition.name,
        "state": definition.state,
        "trigger": definition.trigger,
        **trigger,
        "re_enroll": definition.re_enroll if definition.re_enroll is not ReEnroll.NEVER else None,
        "catch_up": definition.catch_up if definition.catch_up is not CatchUp.SHIFT else None,
        "zone": definition.zone if definition.zone is not DripZone.BRAND else None,
        "window": None if definition.window is None else _describe_window(definition.window),
        "exit_on": {"topics": list(definition.exit_topics)} if definition.exit_topics else None,
        "goals": list(definition.goals) or None,
        "evergreen": definition.evergreen or None,
        "max_per_hour": definition.max_per_hour,
        "version": definition.version,
        "steps": [_describe_step(step) for step in definition.steps],
    }
    return {
        key: value.value if isinstance(value, StrEnum) else value
        for key, value in described.items()
        if value is not None
    }


def _describe_window(window: Window) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if window.opens != window.closes:
        described = {"from": _clock(window.opens), "to": _clock(window.closes)}
    if not described or window.days != Window().days:
        described["days"] = [WEEKDAYS[day - 1] for day in window.days]
    return described


def _describe_step(step: Step) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if step.id is not None:
        described["id"] = step.id
    if step.label is not None:
        described["label"] = step.label
    if step.delay or isinstance(step.action, Delay):
        described["delay"] = delay_in_words(step.delay)
    return {**described, **_describe_action(step.action)}


def _describe_action(action: Action) -> dict[str, Any]:
    match action:
        case Send():
            mail = {"subject": action.subject, "html": action.html, "text": action.text}
            return {key: value for key, value in mail.items() if value is not None}
        case Delay():
            return {}
        case WaitUntil():
            waits = {
                "date": action.on and action.on.isoformat(),
                "weekdays": action.weekdays and [WEEKDAYS[day - 1] for day in action.weekdays],
                "time": None if action.at is None else _clock(action.at),
            }
            return {"wait_until": {key: value for key, value in waits.items() if value is not None}}
        case Branch():
            leads = {"then": action.then, "otherwise": action.otherwise}
            return {
                "condition": {
                    "if": action.condition,
                    **{key: value for key, value in leads.items() if value is not None},
                }
            }
        case AddTopic():
            return {"add_topic": action.slug}
        case RemoveTopic():
            return {"remove_topic": action.slug}
        case Webhook():
            return {"webhook": action.name}
        case Exit():
            return {"exit": action.reason or True}
        case _:
            assert_never(action)


def _clock(moment: time) -> str:
    return moment.strftime("%H:%M")
