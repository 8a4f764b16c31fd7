"""A drip as a line of steps that goes down the terminal. Pure: lines in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

import click

from mailement_newsletter.rules.drip_conditions import Condition
from mailement_newsletter.rules.drip_definition import (
    EXIT,
    AddTopic,
    Branch,
    CatchUp,
    Delay,
    DripDefinition,
    DripState,
    DripTrigger,
    Exit,
    ReEnroll,
    RemoveTopic,
    Send,
    Step,
    StepKind,
    WaitUntil,
    Webhook,
    Window,
    kind_of,
)
from mailement_newsletter.rules.drip_reading import WEEKDAYS, delay_in_words
from mailement_newsletter.usecases.show_drip import DripReport, StepNumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """What the terminal can show; `width` in columns."""

    width: int
    is_unicode: bool
    has_colours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signs:
    line: str
    arrow: str
    more: str
    kinds: Mapping[StepKind, str]
    start: str
    end: str


_UNICODE: Final = _Signs(
    line="│",
    arrow="─▶",
    more="…",
    start="○",
    end="■",
    kinds={
        StepKind.SEND: "●",
        StepKind.DELAY: "◌",
        StepKind.WAIT_UNTIL: "◔",
        StepKind.CONDITION: "◆",
        StepKind.ADD_TOPIC: "⊕",
        StepKind.REMOVE_TOPIC: "⊖",
        StepKind.WEBHOOK: "↗",
        StepKind.EXIT: "✕",
    },
)
_ASCII: Final = _Signs(
    line="|",
    arrow="->",
    more="...",
    start="o",
    end="#",
    kinds={
        StepKind.SEND: "*",
        StepKind.DELAY: ".",
        StepKind.WAIT_UNTIL: "@",
        StepKind.CONDITION: "?",
        StepKind.ADD_TOPIC: "+",
        StepKind.REMOVE_TOPIC: "-",
        StepKind.WEBHOOK: ">",
        StepKind.EXIT: "x",
    },
)
_COLOURS: Final[Mapping[StepKind, str]] = {
    StepKind.SEND: "green",
    StepKind.CONDITION: "yellow",
    StepKind.ADD_TOPIC: "cyan",
    StepKind.REMOVE_TOPIC: "cyan",
    StepKind.WEBHOOK: "magenta",
    StepKind.EXIT: "red",
}
_STATE_COLOURS: Final[Mapping[DripState, str]] = {
    DripState.DRAFT: "blue",
    DripState.LIVE: "green",
    DripState.PAUSED: "yellow",
    DripState.ARCHIVED: "red",
}
_NARROWEST: Final = 40


def draw(report: DripReport, canvas: Canvas) -> Iterator[str]:
    return _Drawing(report, canvas).lines()


class _Drawing:
    def __init__(self, report: DripReport, canvas: Canvas) -> None:
        self._report = report
        self._canvas = canvas
        self._width = max(canvas.width, _NARROWEST)
        self._signs = _UNICODE if canvas.is_unicode else _ASCII
        self._numbers = {step.label: number for number, step in enumerate(report.definition.steps, start=1)}

    def lines(self) -> Iterator[str]:
        report, definition = self._report, self._report.definition
        state = self._paint(report.state.value, fg=_STATE_COLOURS[report.state])
        yield f"{self._paint(self._cut(definition.name, 60), bold=True)}  {state}  version {report.version}"
        yield self._dim(_join(_totals(report), self._width))
        yield from (
            self._dim(self._cut(line, self._width)) for line in _settings(definition, report.timezone)
        )
        for work in report.work:
            told = f"in the background: {_WORK.get(work.kind, work.kind)}"
            yield self._paint(self._cut(told, self._width), fg="yellow")
            if work.error is not None:
                told = f"refused {work.attempts} times: {work.error}"
                yield self._paint(self._cut(told, self._width), fg="red")
        yield ""
        yield f"{self._signs.start} {self._cut(_trigger(definition), self._width - 2)}"
        for number, (step, numbers) in enumerate(zip(definition.steps, report.steps, strict=True), start=1):
            yield from self._between(step, numbers)
            yield from self._step(number, step, numbers)
        yield self._signs.line
        end = "the end, where they wait for steps that are added later" if definition.evergreen else "the end"
        yield f"{self._signs.end} {end}"

    def _between(self, step: Step, numbers: StepNumbers) -> Iterator[str]:
        """The line down to a step: its delay, and who waits for it."""
        parts = [self._dim(delay_in_words(step.delay))] if step.delay else []
        if numbers.waiting:
            more = "" if self._report.waiting_is_exact else "+"
            parts.append(self._paint(f"{numbers.waiting:,}{more} waiting", fg="yellow"))
        yield self._signs.line
        if parts:
            yield f"{self._signs.line} {'   '.join(parts)}"
            yield self._signs.line

    def _step(self, place: int, step: Step, numbers: StepNumbers) -> Iterator[str]:
        kind = kind_of(step.action)
        sign = self._paint(self._signs.kinds[kind], fg=_COLOURS.get(kind))
        number = str(place)
        label = f"{step.label}  " if step.label is not None else ""
        told = self._cut(_action(step), self._width - len(number) - len(label) - 4)
        yield f"{sign} {number} {self._paint(label, bold=True)}{told}"
        if isinstance(step.action, Branch):
            yield from self._leads(step.action)
        if counted := _counted(kind, numbers):
            yield f"{self._signs.line}   {self._dim(_join(counted, self._width - 4))}"

    def _leads(self, branch: Branch) -> Iterator[str]:
        for word, target in (("yes", branch.then), ("no ", branch.otherwise)):
            to = "next" if target is None else "the end"
            if target is not None and target != EXIT:
                to = f"{self._numbers.get(target, '')} {target}"
            yield f"{self._signs.line}   {word} {self._signs.arrow} {to.strip()}"

    def _cut(self, text: str, width: int) -> str:
        line = "".join(character if character.isprintable() else " " for character in text)
        if not self._canvas.is_unicode:
            line = line.encode("ascii", "replace").decode()
        more = self._signs.more
        return line if len(line) <= width else line[: max(0, width - len(more))] + more

    def _dim(self, text: str) -> str:
        return self._paint(text, dim=True)

    def _paint(self, text: str, *, fg: str | None = None, bold: bool = False, dim: bool = False) -> str:
        if not self._canvas.has_colours or not text:
            return text
        return click.style(text, fg=fg, bold=bold or None, dim=dim or None)


def _totals(report: DripReport) -> list[str]:
    numbers = report.numbers
    counts = {
        "enrolled": numbers.enrolled,
        "active": numbers.active,
        "completed": numbers.completed,
        "exited": numbers.exited,
        "failed": numbers.failed,
        "cancelled": numbers.cancelled,
    }
    return [f"{name} {count:,}" for name, count in counts.items() if count or name in ("enrolled", "active")]


def _settings(definition: DripDefinition, timezone: str) -> Iterator[str]:
    """What is not as usual."""
    if definition.window is not None:
        zone = timezone if definition.zone == "brand" else f"the subscriber's zone, or {timezone}"
        yield f"mails leave {_window(definition.window)}, {zone}"
    if definition.re_enroll is not ReEnroll.NEVER:
        yield {
            ReEnroll.AFTER_END: "takes people again after the end",
            ReEnroll.ALWAYS: "begins anew at every occasion",
        }[definition.re_enroll]
    if definition.catch_up is CatchUp.SKIP:
        yield "skips mails that fall due during a pause"
    if definition.goals:
        yield f"ends by {', '.join(definition.goals)}"
    if definition.exit_topics:
        yield f"ends when a topic is given up: {', '.join(definition.exit_topics)}"
    if definition.max_per_hour is not None:
        yield f"at most {definition.max_per_hour:,} mails an hour"


_WORK: Final = {
    "retime": "reckoning anew when next steps are due",
    "respace": "moving runs along with their steps, paused until then",
    "plan_dates": "planning dates",
    "forget_dates": "forgetting dates",
    "recount": "counting runs anew",
}


def _trigger(definition: DripDefinition) -> str:
    match definition.trigger:
        case DripTrigger.SUBSCRIBER_CONFIRMED:
            return "when a subscriber is confirmed"
        case DripTrigger.TOPIC_ADDED:
            return f"when a signup brings the topic {definition.topic}"
        case DripTrigger.MANUAL:
            return "when somebody is enrolled"
        case DripTrigger.EVENT:
            return f"when {definition.event} is reported"
        case DripTrigger.DATE:
            days = definition.days
            apart = (
                "on the day" if not days else f"{abs(days)} days {'before' if days < 0 else 'after'} the day"
            )
            each = ", each year" if definition.yearly else ""
            return f"{apart} in the field {definition.field}, at {definition.at:%H:%M}{each}"
        case _:
            assert_never(definition.trigger)


def _window(window: Window) -> str:
    days = [WEEKDAYS[day - 1] for day in window.days]
    parts = [] if len(days) == len(WEEKDAYS) else [" ".join(days)]
    if window.opens != window.closes:
        parts.append(f"{window.opens:%H:%M} to {window.closes:%H:%M}")
    return " ".join(parts)


def _action(step: Step) -> str:
    match step.action:
        case Send(subject=subject):
            return f"mail: {subject}"
        case Delay():
            return "wait"
        case WaitUntil() as wait:
            day = f"{wait.on}" if wait.on else " ".join(WEEKDAYS[day - 1] for day in wait.weekdays or ())
            return " ".join(
                part for part in ("wait until", day, f"{wait.at:%H:%M}" if wait.at else "") if part
            )
        case Branch(condition=condition):
            return f"if {condition_in_words(condition)}"
        case AddTopic(slug=slug):
            return f"add the topic {slug}"
        case RemoveTopic(slug=slug):
            return f"take the topic {slug} away"
        case Webhook(name=name):
            return f"tell the webhook {name}"
        case Exit(reason=reason):
            return f"end: {reason}" if reason else "end"
        case _:
            assert_never(step.action)


_OPERATORS: Final = {
    "is": "is",
    "is_not": "is not",
    "in": "is one of",
    "contains": "contains",
    "above": "is above",
    "below": "is below",
}


def condition_in_words(condition: Condition) -> str:
    match condition:
        case {"all": parts}:
            return " and ".join(_nested(part) for part in parts)
        case {"any": parts}:
            return " or ".join(_nested(part) for part in parts)
        case {"not": part}:
            return f"not {_nested(part)}"
        case {"always": _}:
            return "always"
        case {"topic": slug}:
            return f"has the topic {slug}"
        case {"opened": label}:
            return f"has opened {label}"
        case {"clicked": label}:
            return f"has clicked {label}"
        case {"field": key, "exists": exists}:
            return f"{key} is {'filled' if exists else 'empty'}"
        case {"field": key, **rest}:
            ((operator, value),) = rest.items()
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            return f"{key} {_OPERATORS[operator]} {shown}"
        case _:
            return "?"


def _nested(condition: Condition) -> str:
    words = condition_in_words(condition)
    return f"({words})" if {"all", "any"} & set(condition) else words


def _counted(kind: StepKind, numbers: StepNumbers) -> list[str]:
    counted = [f"ran {numbers.ran:,}"] if numbers.ran else []
    if numbers.skipped:
        counted.append(f"skipped {numbers.skipped:,}")
    if kind is not StepKind.SEND:
        return counted
    for name, count, of in (
        ("sent", numbers.sent, numbers.ran),
        ("opened", numbers.opened, numbers.sent),
        ("clicked", numbers.clicked, numbers.sent),
        ("failed", numbers.failed, 0),
        ("uncertain", numbers.uncertain, 0),
        ("cancelled", numbers.cancelled, 0),
    ):
        if count:
            counted.append(f"{name} {count:,}{f' ({min(count / of, 1):.0%})' if of else ''}")
    return counted


def _join(parts: list[str], width: int) -> str:
    """As many as there is room for."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else part
        if len(longer) > width:
            break
        line = longer
    return line
