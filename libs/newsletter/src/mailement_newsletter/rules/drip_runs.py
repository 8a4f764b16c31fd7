"""What is known of a run: where it stands, its mails, and what else has happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mailement_common.ids import SubscriberId
from mailement_newsletter.ids import DripId, RunId, StepId
from mailement_newsletter.rules.drip_definition import StepKind


class RunState(StrEnum):
    ACTIVE = "active"
    COMPLETED = "completed"
    EXITED = "exited"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One subscriber's way through a drip, `run_no` counting from 1. `error`: of the last attempt that failed."""

    id: RunId
    drip_id: DripId
    subscriber_id: SubscriberId
    run_no: int
    state: RunState
    exit_reason: str | None
    enrolled_at: datetime
    next_run_at: datetime | None
    ended_at: datetime | None
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """A step as a run meets it. `then`, `otherwise`: a step's id, `exit` or None: where a condition leads to."""

    id: StepId
    position: int
    kind: StepKind
    label: str | None
    subject: str | None
    delay: timedelta
    deleted_at: datetime | None
    then: int | str | None = None
    otherwise: int | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMail:
    """A mail of a run; `state` and `error` are the mail ledger's."""

    message_id: int
    step_id: StepId
    state: str
    error: str | None
    attempts: int
    not_before: datetime
    created_at: datetime
    finished_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """`kind`: condition, add_topic, remove_topic, webhook, exit, skipped, attempt_failed."""

    step_id: StepId | None
    kind: str
    detail: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """`what`: enrolled, mail, opened, clicked, ended, or the kind of a RunEvent."""

    at: datetime
    what: str
    step_id: StepId | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """`cursor_pos`, `anchor_at`: which position was last, and when. `timezone`: in which the drip reckons for this person.

    `steps` are all that the drip has had, in their order. `status` None: the subscriber is not there any more.
    """

    run: Run
    cursor_pos: int
    anchor_at: datetime
    email: str | None
    status: str | None
    timezone: str
    steps: Sequence[RunStep]
    mails: Sequence[RunMail]
    events: Sequence[RunEvent]

    @property
    def history(self) -> list[HistoryEntry]:
        return sorted(self._entries(), key=lambda entry: entry.at)

    def _entries(self) -> list[HistoryEntry]:
        entries = [HistoryEntry(at=self.run.enrolled_at, what="enrolled")]
        entries += [
            HistoryEntry(at=event.at, what=event.kind, step_id=event.step_id, detail=event.detail)
            for event in self.events
        ]
        for mail in self.mails:
            told = {"message_id": mail.message_id, "state": mail.state, "error": mail.error}
            entries.append(HistoryEntry(at=mail.created_at, what="mail", step_id=mail.step_id, detail=told))
            for what, at in (("opened", mail.opened_at), ("clicked", mail.clicked_at)):
                if at is not None:
                    seen = {"message_id": mail.message_id}
                    entries.append(HistoryEntry(at=at, what=what, step_id=mail.step_id, detail=seen))
        if self.run.ended_at is not None:
            end = {"state": self.run.state.value, "reason": self.run.exit_reason}
            entries.append(HistoryEntry(at=self.run.ended_at, what="ended", detail=end))
        return entries
