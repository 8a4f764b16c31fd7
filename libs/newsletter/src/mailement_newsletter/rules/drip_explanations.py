"""Why somebody got a step of a drip, or did not, or not yet: in plain sentences, from what is known of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mailement_newsletter.ids import StepId
from mailement_newsletter.rules.drip_definition import CatchUp, DripState, ExitReason, StepKind
from mailement_newsletter.rules.drip_runs import RunEvent, RunMail, RunReport, RunState, RunStep

# A step that runs a little late has not waited for anything.
_AT_ONCE: Final = timedelta(seconds=1)


class Verdict(StrEnum):
    """What became of a step; `ran` is of steps that send nothing."""

    SENT = "sent"
    QUEUED = "queued"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    RAN = "ran"
    PASSED_OVER = "passed_over"
    NEXT = "next"
    NOT_REACHED = "not_reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """`local`: every moment in the run's own zone. `paced_until`: till when the hourly allowance is used up."""

    report: RunReport
    drip_state: DripState
    catch_up: CatchUp
    skip_due_before: datetime | None
    paced_until: datetime | None
    local: Mapping[datetime, datetime]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedStep:
    """`number`: its place among the live steps, from 1; None: it was deleted since."""

    step_id: StepId
    number: int | None
    label: str | None
    kind: StepKind
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExplanation:
    summary: str
    steps: Sequence[ExplainedStep]


def moments_of(report: RunReport) -> set[datetime]:
    """All that sentences may speak of."""
    run = report.run
    found = {run.enrolled_at, run.next_run_at, run.ended_at, report.anchor_at}
    found |= {report.anchor_at + step.delay for step in report.steps}
    for mail in report.mails:
        found |= {mail.created_at, mail.finished_at, mail.opened_at, mail.clicked_at}
    for event in report.events:
        found |= {event.at, _due_at(event)}
    return {moment for moment in found if moment is not None}


def explain(facts: RunFacts) -> RunExplanation:
    return _Explainer(facts).explain()


class _Explainer:
    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._report = facts.report
        self._run = facts.report.run
        self._live = [step for step in facts.report.steps if step.deleted_at is None]
        self._numbers = {step.id: number for number, step in enumerate(self._live, start=1)}
        self._mails = {mail.step_id: mail for mail in facts.report.mails}
        # The last that happened at a step is what became of it.
        self._events = {event.step_id: event for event in facts.report.events if event.step_id is not None}
        self._next = next((step for step in self._live if step.position > facts.report.cursor_pos), None)

    def explain(self) -> RunExplanation:
        steps = [
            self._step(step)
            for step in self._report.steps
            if step.deleted_at is None or step.id in self._mails or step.id in self._events
        ]
        return RunExplanation(summary=self._summary(), steps=steps)

    def _summary(self) -> str:
        match self._run.state:
            case RunState.ACTIVE:
                return self._whats_next()
            case RunState.COMPLETED:
                return f"Came to the end on {self._on(self._run.ended_at)}."
            case RunState.FAILED:
                return (
                    f"Failed on {self._on(self._run.ended_at)} after {self._run.attempts} attempts: {self._run.error}. "
                    "A retry lets it go on where it stands."
                )
            case RunState.CANCELLED | RunState.EXITED:
                return f"Left on {self._on(self._run.ended_at)}{_reason(self._run.exit_reason)}."

    def _whats_next(self) -> str:
        if self._next is None:
            return "Has come to the end, and waits there for steps that are added later."
        return f"Is before {self._name(self._next)}, which {self._when()}."

    def _step(self, step: RunStep) -> ExplainedStep:
        verdict, told = self._verdict(step)
        name = self._name(step)
        return ExplainedStep(
            step_id=step.id,
            number=self._numbers.get(step.id),
            label=step.label,
            kind=step.kind,
            verdict=verdict,
            text=f"{name[0].upper()}{name[1:]} {told}.",
        )

    def _verdict(self, step: RunStep) -> tuple[Verdict, str]:
        if (mail := self._mails.get(step.id)) is not None:
            return self._of_mail(mail)
        if (event := self._events.get(step.id)) is not None:
            return self._of_event(step, event)
        if step.position <= self._report.cursor_pos:
            return self._of_passed(step)
        if self._run.state is RunState.ACTIVE and self._next is not None and step.id == self._next.id:
            return Verdict.NEXT, self._when()
        if self._run.state is RunState.ACTIVE:
            return Verdict.NOT_REACHED, "is not reached yet"
        if self._run.state is RunState.FAILED and self._next is not None and step.id == self._next.id:
            return Verdict.FAILED, f"could not be carried out: {self._run.error}"
        return Verdict.NOT_REACHED, f"was not reached: the run had ended{_reason(self._run.exit_reason)}"

    def _of_mail(self, mail: RunMail) -> tuple[Verdict, str]:
        match mail.state:
            case "sent":
                seen = [
                    f"{word} on {self._on(at)}"
                    for word, at in (("opened", mail.opened_at), ("clicked", mail.clicked_at))
                    if at is not None
                ]
                return Verdict.SENT, ", ".join([f"was sent on {self._on(mail.finished_at)}", *seen])
            case "failed":
                return Verdict.FAILED, f"was not delivered: its mail failed: {mail.error}"
            case "uncertain":
                told = "uncertain: its mail may have been delivered, and is not sent again by itself"
                return Verdict.UNCERTAIN, f"is {told}: {mail.error}"
            case "cancelled":
                return Verdict.CANCELLED, f"was not sent: its mail was cancelled: {mail.error}"
            case _:
                told = f"made its mail on {self._on(mail.created_at)}, which waits to be sent"
                return Verdict.QUEUED, told if mail.error is None else f"{told} again: {mail.error}"

    def _of_event(self, step: RunStep, event: RunEvent) -> tuple[Verdict, str]:
        at = self._on(event.at)
        match event.kind:
            case "skipped":
                due = self._on(_due_at(event))
                return (
                    Verdict.SKIPPED,
                    f"was skipped: it fell due on {due} while the drip was paused, and the drip skips",
                )
            case "condition":
                holds = bool(event.detail.get("holds"))
                lead = self._lead(step.then if holds else step.otherwise)
                return Verdict.RAN, f"{'held' if holds else 'did not hold'} on {at}, so the run {lead}"
            case "add_topic":
                return Verdict.RAN, f"added its topic on {at}"
            case "remove_topic":
                return Verdict.RAN, f"took its topic away on {at}"
            case "webhook":
                return Verdict.RAN, f"told the webhook on {at}"
            case _:
                return Verdict.RAN, f"ended the run on {at}"

    def _lead(self, target: int | str | None) -> str:
        if target is None:
            return "went on with the next step"
        step = next((step for step in self._report.steps if step.id == target), None)
        return "ended" if step is None else f"went on with {self._name(step)}"

    def _of_passed(self, step: RunStep) -> tuple[Verdict, str]:
        for condition in self._report.steps:
            event = self._events.get(condition.id)
            if event is None or event.kind != "condition" or condition.position > step.position:
                continue
            target = condition.then if event.detail.get("holds") else condition.otherwise
            lead = next((other for other in self._report.steps if other.id == target), None)
            if lead is not None and lead.position > step.position:
                told = f"was passed over: {self._name(condition)} led to {self._name(lead)}"
                return Verdict.PASSED_OVER, told
        if step.kind in (StepKind.DELAY, StepKind.WAIT_UNTIL):
            return Verdict.RAN, "was waited for"
        return (
            Verdict.PASSED_OVER,
            "left no trace: it was put in after the run had gone by, or what it did is so old that it was removed",
        )

    def _when(self) -> str:
        """What is to be said of the next step: `is due on …`, `waits for …`."""
        step, run, facts = self._next, self._run, self._facts
        assert step is not None
        match facts.drip_state:
            case DripState.ARCHIVED:
                return "will not run: the drip is archived"
            case DripState.DRAFT:
                return "does not run: the drip is a draft"
            case DripState.LIVE | DripState.PAUSED:
                pass
        if self._report.status == "pending":
            return "waits for the subscriber's confirmation"
        if run.next_run_at is None:
            return "waits until the scheduler has reckoned when it is due"
        due = self._on(run.next_run_at)
        if run.attempts:
            return f"failed {run.attempts} times ({run.error}) and is tried again on {due}"
        if run.next_run_at <= facts.now:
            return self._overdue(due)
        paused = "; the drip is paused" if facts.drip_state is DripState.PAUSED else ""
        return f"{self._waits(step, run.next_run_at, due)}{paused}"

    def _overdue(self, due: str) -> str:
        facts = self._facts
        if facts.drip_state is DripState.PAUSED:
            if facts.catch_up is CatchUp.SKIP:
                return f"fell due on {due}; the drip is paused, and skips what fell due before it is resumed"
            return f"fell due on {due}; the drip is paused, and it runs when that is resumed"
        if self._is_skipped():
            return f"fell due on {due} while the drip was paused, and is skipped in a moment"
        if facts.paced_until is not None and facts.paced_until > facts.now:
            return f"is due since {due}; the drip's allowance for this hour is used up"
        return f"is due since {due} and runs in a moment"

    def _is_skipped(self) -> bool:
        due, before = self._run.next_run_at, self._facts.skip_due_before
        sends = self._next is not None and self._next.kind in (StepKind.SEND, StepKind.WEBHOOK)
        return sends and due is not None and before is not None and due < before

    def _waits(self, step: RunStep, at: datetime, due: str) -> str:
        plain = self._report.anchor_at + step.delay
        if at - plain <= _AT_ONCE:
            return f"is due on {due}"
        if step.kind is StepKind.WAIT_UNTIL:
            return f"waits until {due}"
        return f"waits for the window: {due} (its delay is over on {self._on(plain)})"

    def _name(self, step: RunStep) -> str:
        number = self._numbers.get(step.id)
        called = step.label or step.subject or step.kind.value.replace("_", " ")
        return (
            f"step {number} ({called})" if number is not None else f"a step that was deleted since ({called})"
        )

    def _on(self, at: datetime | None) -> str:
        if at is None:
            return "an unknown day"
        return f"{self._facts.local.get(at, at):%A %Y-%m-%d %H:%M} {self._report.timezone}"


def _due_at(event: RunEvent) -> datetime | None:
    given = event.detail.get("due_at")
    return None if given is None else datetime.fromisoformat(given)


_REASONS: Final[Mapping[str, str]] = {
    ExitReason.UNSUBSCRIBED: "by unsubscribing",
    ExitReason.BOUNCED: "because a mail bounced",
    ExitReason.COMPLAINED: "because a mail was marked as spam",
    ExitReason.DELETED: "because the subscriber was deleted",
    ExitReason.GOAL: "by reaching the drip's goal",
    ExitReason.TOPIC_REMOVED: "by giving up a topic that the drip hangs on",
    ExitReason.RESTARTED: "because the drip began anew",
    ExitReason.CONDITION: "by a condition",
    ExitReason.EXIT_STEP: "by an exit step",
    ExitReason.REMOVED: "because somebody took the subscriber out",
}


def _reason(reason: str | None) -> str:
    return "" if reason is None else f" {_REASONS.get(reason, f'by an exit step: {reason}')}"
