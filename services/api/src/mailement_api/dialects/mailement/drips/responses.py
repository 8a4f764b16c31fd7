"""Our words → wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from mailement_api.dialects.mailement.query import wire_moment as moment
from mailement_newsletter.errors import DripFault
from mailement_newsletter.rules.drip_definition import describe, kind_of
from mailement_newsletter.rules.drip_explanations import RunExplanation
from mailement_newsletter.rules.drip_runs import HistoryEntry, Run, RunReport
from mailement_newsletter.usecases.drip_stats import DripStats
from mailement_newsletter.usecases.list_drips import DripPage, DripSummary
from mailement_newsletter.usecases.preview_edit import EditPreview
from mailement_newsletter.usecases.report_event import Reported
from mailement_newsletter.usecases.resume_drip import Resumed
from mailement_newsletter.usecases.run_rows import RunPage
from mailement_newsletter.usecases.show_drip import DripReport
from mailement_newsletter.usecases.simulate_drip import Simulation

Wire = Mapping[str, object]


def page(found: DripPage) -> Wire:
    cursor = None if found.cursor is None else str(found.cursor)
    return {"drips": [_summary(drip) for drip in found.drips], "cursor": cursor}


def _summary(drip: DripSummary) -> Wire:
    return {
        "id": drip.id,
        "name": drip.name,
        "state": drip.state,
        "trigger": drip.trigger,
        "starts_by": drip.starts_by,
        "steps": drip.steps,
        "version": drip.version,
        "runs": asdict(drip.numbers),
        "created_at": moment(drip.created_at),
        "updated_at": moment(drip.updated_at),
    }


def report(found: DripReport) -> Wire:
    """`definition` is what can be sent back; `steps` are its steps with their numbers."""
    return {
        "id": found.id,
        "name": found.definition.name,
        "state": found.state,
        "version": found.version,
        "timezone": found.timezone,
        "definition": describe(found.definition),
        "runs": asdict(found.numbers),
        "steps": [
            {"id": step.id, "label": step.label, "kind": kind_of(step.action), **asdict(numbers)}
            for step, numbers in zip(found.definition.steps, found.steps, strict=True)
        ],
        "waiting_is_exact": found.waiting_is_exact,
        "created_at": moment(found.created_at),
        "updated_at": moment(found.updated_at),
    }


def warned(warnings: Sequence[DripFault]) -> list[Wire]:
    return [asdict(warning) for warning in warnings]


def preview(found: EditPreview) -> Wire:
    return {**asdict(found), "warnings": warned(found.warnings)}


def resumed(found: Resumed) -> Wire:
    return {**asdict(found), "oldest_due_at": moment(found.oldest_due_at)}


def stats(found: DripStats) -> Wire:
    return {
        "drip_id": found.drip_id,
        "runs": asdict(found.numbers),
        "completion_rate": found.completion_rate,
        "steps": [
            {
                "id": step.id,
                "label": step.label,
                "kind": step.kind,
                **asdict(step.numbers),
                "open_rate": step.open_rate,
                "click_rate": step.click_rate,
            }
            for step in found.steps
        ],
        "waiting_is_exact": found.waiting_is_exact,
    }


def runs(found: RunPage) -> Wire:
    return {"runs": [_run(run) for run in found.runs], "cursor": found.cursor}


def _run(run: Run) -> Wire:
    return {
        **asdict(run),
        "enrolled_at": moment(run.enrolled_at),
        "next_run_at": moment(run.next_run_at),
        "ended_at": moment(run.ended_at),
    }


def run(found: RunReport) -> Wire:
    return {
        "run": {
            **_run(found.run),
            "subscriber_status": found.status,
            "timezone": found.timezone,
        },
        "history": [_entry(entry, found) for entry in found.history],
    }


def _entry(entry: HistoryEntry, found: RunReport) -> Wire:
    step = next((step for step in found.steps if step.id == entry.step_id), None)
    return {
        "at": moment(entry.at),
        "what": entry.what,
        "step_id": entry.step_id,
        "label": None if step is None else step.label,
        "detail": entry.detail,
    }


def explanation(found: RunExplanation) -> Wire:
    return {"summary": found.summary, "steps": [asdict(step) for step in found.steps]}


def simulation(found: Simulation) -> Wire:
    return {
        **asdict(found),
        "begins_at": moment(found.begins_at),
        "steps": [
            {
                **asdict(step),
                "at": moment(step.at),
                "plain_at": moment(step.plain_at),
                "local": step.local.isoformat(" ", "minutes"),
            }
            for step in found.steps
        ],
    }


def reported(found: Reported) -> Wire:
    return {"subscriber_id": found.subscriber_id, "event_id": str(found.event_id)}
