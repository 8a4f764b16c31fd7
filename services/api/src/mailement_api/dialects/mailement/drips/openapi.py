"""Drips as OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pydantic import BaseModel

from mailement_api.dialects.mailement.drips.requests import Described, DripBody, DripPatchBody, EventBody
from mailement_api.dialects.mailement.openapi import CURSOR, LIMIT, MOMENT_SCHEMA, Operation, Parameter
from mailement_api.dialects.mailement.responses import Family
from mailement_newsletter.rules.drip_definition import DripState, ExitReason
from mailement_newsletter.rules.drip_runs import RunState


class ResumeBody(Described):
    dry_run: bool | None = None


_AT: Final = "2026-05-19T17:42:00.000+00:00"
_RUNS: Final = {"enrolled": 1204, "active": 310, "completed": 800, "exited": 90, "failed": 3, "cancelled": 1}
_STEP: Final = {
    "id": 7,
    "label": None,
    "kind": "send",
    "ran": 1204,
    "skipped": 0,
    "sent": 1190,
    "failed": 3,
    "uncertain": 0,
    "cancelled": 11,
    "opened": 803,
    "clicked": 120,
    "waiting": 0,
}
_DEFINITION: Final = {
    "name": "Course",
    "trigger": "subscriber_confirmed",
    "window": {"from": "09:00", "to": "17:00", "days": ["mon", "tue", "wed", "thu", "fri"]},
    "steps": [
        {"label": "hello", "subject": "Welcome, {{ first_name | default: 'reader' }}", "text": "Hello."},
        {"delay": "2 days", "condition": {"if": {"opened": "hello"}, "otherwise": "exit"}},
        {"label": "more", "subject": "More", "text": "And on it goes."},
    ],
}
_DRIP: Final = {
    "id": 42,
    "name": "Course",
    "state": "live",
    "version": 3,
    "timezone": "Europe/Berlin",
    "definition": {"name": "Course", "trigger": "subscriber_confirmed", "version": 3, "steps": [{"id": 7}]},
    "runs": _RUNS,
    "steps": [_STEP],
    "waiting_is_exact": True,
    "created_at": _AT,
    "updated_at": _AT,
}
_SUMMARY: Final = {
    "id": 42,
    "name": "Course",
    "state": "live",
    "trigger": "subscriber_confirmed",
    "starts_by": None,
    "steps": 3,
    "version": 3,
    "runs": _RUNS,
    "created_at": _AT,
    "updated_at": _AT,
}
_RUN: Final = {
    "id": 9000,
    "drip_id": 42,
    "subscriber_id": 41023,
    "run_no": 1,
    "state": "active",
    "exit_reason": None,
    "enrolled_at": _AT,
    "next_run_at": None,
    "ended_at": None,
    "attempts": 0,
    "error": None,
}
_RUN_REPORT: Final = {
    "run": {**_RUN, "subscriber_status": None, "timezone": "Europe/Berlin"},
    "history": [{"at": _AT, "what": "enrolled", "step_id": None, "label": None, "detail": {}}],
}
_EXIT_REASON: Final = {
    "type": ["string", "null"],
    "description": f"Why it ended before its time: {', '.join(ExitReason)}, or the words of a step `exit`.",
}
_RUN_FIELDS: Final = {"exit_reason": _EXIT_REASON}
_SUBSCRIBER: Final = Parameter(
    name="subscriber", description="An address or an id.", schema={"type": "string"}
)
_DEFINES: Final = ("invalid_drip", "too_busy")
_CHANGES: Final = ("invalid_drip", "version_conflict", "drip_archived", "too_busy")
_STARTED: Final = ("drip_archived", "drip_is_a_draft")
_LISTED: Final = ("invalid_state", "invalid_limit", "invalid_cursor")


def _describe(
    method: str,
    path: str,
    name: str,
    summary: str,
    answer: Mapping[str, object],
    *codes: str,
    body: type[BaseModel] | None = None,
    body_required: bool = True,
    example: Mapping[str, object] | None = None,
    query: tuple[Parameter, ...] = (),
    fields: Mapping[str, Mapping[str, object]] | None = None,
) -> Operation:
    is_drip = "drips/{id}" in path
    return Operation(
        method=method,
        path=f"/api/v1/{path}",
        name=name,
        summary=summary,
        tag="Drips",
        body=body,
        body_required=body_required,
        family=Family.SUCCESS,
        error_schema="drip_error",
        example=example,
        answer={"success": True, **answer},
        codes=(
            *(() if method == "get" else ("insufficient_scope",)),
            *(("drip_not_found",) if is_drip else ()),
            *codes,
        ),
        id_of="drip" if is_drip else "run",
        query=query,
        fields=fields or {},
    )


OPERATIONS: Final = (
    _describe(
        "get",
        "drips",
        "listDrips",
        "The brand's drips with their numbers, the oldest first.",
        {"drips": [_SUMMARY], "cursor": None},
        *_LISTED,
        query=(
            Parameter(
                name="state",
                description="Only these.",
                schema={"type": "string", "enum": [state.value for state in DripState]},
            ),
            LIMIT,
            CURSOR,
        ),
    ),
    _describe(
        "post",
        "drips",
        "createDrip",
        "Create a drip; it is live at once, unless `state` is `draft`. Needs the scope `drips:write`, as all here that is no GET.",
        {"drip": _DRIP, "warnings": []},
        *_DEFINES,
        body=DripBody,
        example=_DEFINITION,
    ),
    _describe(
        "get",
        "drips/{id}",
        "showDrip",
        "A drip: its definition, which can be sent back, and how its steps fare.",
        {"drip": _DRIP},
    ),
    _describe(
        "put",
        "drips/{id}",
        "replaceDrip",
        "Give a drip another definition, under those who are in it. Steps are known by `id` or `label`.",
        {"drip": _DRIP, "warnings": []},
        *_CHANGES,
        body=DripBody,
        example=_DEFINITION,
    ),
    _describe(
        "patch",
        "drips/{id}",
        "changeDrip",
        "Change the settings that are named; `null` takes one away, `steps` are all that there shall be.",
        {"drip": _DRIP, "warnings": []},
        *_CHANGES,
        body=DripPatchBody,
        example={"max_per_hour": 600},
    ),
    _describe(
        "post",
        "drips/{id}/preview",
        "previewEdit",
        "What an edit would do to those who are in the drip. Takes what PATCH takes, and changes nothing.",
        {
            "preview": {
                "version": 3,
                "active": 48210,
                "is_exact": True,
                "moved": 12430,
                "earlier": 12430,
                "later": 0,
                "within_the_hour": 310,
                "other_step": 0,
                "completing": 0,
                "steps_kept": 3,
                "steps_moved": 0,
                "steps_added": 0,
                "steps_deleted": 0,
                "warnings": [],
            }
        },
        *_CHANGES,
        "invalid_replace",
        body=DripPatchBody,
        example={"max_per_hour": 600},
        query=(
            Parameter(
                name="replace",
                description="`true`: the body is a whole definition, as PUT takes it.",
                schema={"type": "boolean", "default": False},
            ),
        ),
    ),
    _describe(
        "post",
        "drips/{id}/pause",
        "pauseDrip",
        "Pause a drip: no step runs, everybody keeps the place; mail that is queued already leaves.",
        {"drip": _DRIP},
        *_STARTED,
    ),
    _describe(
        "post",
        "drips/{id}/resume",
        "resumeDrip",
        "Let a paused drip go on; tells how many have fallen behind and what becomes of it. With `dry_run` that is all.",
        {
            "resumed": {
                "was": "paused",
                "overdue": 310,
                "is_exact": True,
                "oldest_due_at": _AT,
                "catch_up": "shift",
                "max_per_hour": None,
            },
            "drip": _DRIP,
        },
        *_STARTED,
        "drip_is_respaced",
        "invalid_dry_run",
        body=ResumeBody,
        body_required=False,
        example={"dry_run": True},
    ),
    _describe(
        "post",
        "drips/{id}/archive",
        "archiveDrip",
        "Archive a drip, for good: nothing of it runs any more, its history stays.",
        {"drip": _DRIP},
    ),
    _describe(
        "post",
        "drips/{id}/retry",
        "retryFailedRuns",
        "Let all failed runs of a drip go on where they failed, now.",
        {"retried": 3},
    ),
    _describe(
        "get",
        "drips/{id}/runs",
        "listRuns",
        "The runs of a drip, in the order of their subscribers. A page may be short and have a `cursor` all the same.",
        {"runs": [_RUN], "cursor": None},
        *_LISTED,
        "invalid_subscriber",
        "subscriber_not_found",
        query=(
            Parameter(
                name="state",
                description="Only these.",
                schema={"type": "string", "enum": [state.value for state in RunState]},
            ),
            _SUBSCRIBER,
            LIMIT,
            CURSOR,
        ),
        fields=_RUN_FIELDS,
    ),
    _describe(
        "get",
        "drips/{id}/stats",
        "dripStats",
        "The numbers of a drip, step by step.",
        {
            "stats": {
                "drip_id": 42,
                "runs": _RUNS,
                "completion_rate": None,
                "steps": [{**_STEP, "open_rate": None, "click_rate": None}],
                "waiting_is_exact": True,
            }
        },
    ),
    _describe(
        "get",
        "drips/{id}/simulate",
        "simulateDrip",
        "What a subscriber would get and when, reckoned as the scheduler does; without `subscriber`, somebody who need not exist.",
        {
            "simulation": {
                "drip_id": 42,
                "subscriber_id": None,
                "run_id": None,
                "begins_at": _AT,
                "timezone": "Europe/Berlin",
                "steps": [
                    {
                        "number": 1,
                        "step_id": 7,
                        "label": None,
                        "kind": "send",
                        "subject": None,
                        "at": _AT,
                        "local": "2026-05-19 19:42",
                        "plain_at": _AT,
                        "skipped": False,
                        "holds": None,
                    }
                ],
                "end": "completed",
                "end_reason": None,
                "notes": [],
            }
        },
        "invalid_subscriber",
        "subscriber_not_found",
        "invalid_from",
        "invalid_topics",
        "invalid_fields",
        query=(
            _SUBSCRIBER,
            Parameter(name="from", description="From when on; now.", schema=MOMENT_SCHEMA),
            Parameter(
                name="topics",
                description="Of somebody who need not exist: slugs, separated by commas. `field.<key>=…` says what a field holds: one of the "
                "brand's, or `email`, `first_name`, `last_name`, `city`, `source`.",
                schema={"type": "string"},
            ),
        ),
        fields={"end_reason": _EXIT_REASON},
    ),
    _describe(
        "get",
        "runs",
        "listRunsOfSubscriber",
        "The runs of a subscriber through all drips, the newest first.",
        {"runs": [_RUN], "cursor": None},
        "invalid_limit",
        "invalid_cursor",
        "invalid_subscriber",
        "subscriber_not_found",
        query=(replace(_SUBSCRIBER, is_required=True), LIMIT, CURSOR),
        fields=_RUN_FIELDS,
    ),
    _describe(
        "get",
        "runs/{id}",
        "showRun",
        "A run and all that has happened in it, in the order of time.",
        _RUN_REPORT,
        "run_not_found",
        fields=_RUN_FIELDS,
    ),
    _describe(
        "post",
        "runs/{id}/exit",
        "exitRun",
        "Take somebody out of a drip: the run ends as `removed`, also one that failed, and what waits to be sent of it is cancelled. "
        "One that has ended otherwise stays as it is.",
        _RUN_REPORT,
        "run_not_found",
        fields=_RUN_FIELDS,
    ),
    _describe(
        "get",
        "runs/{id}/explain",
        "explainRun",
        "Why this person got each step, or did not, or not yet: in sentences.",
        {
            "explanation": {
                "summary": "Is before step 2 (more), which is due on Tuesday 2026-05-19 09:00 Europe/Berlin.",
                "steps": [
                    {
                        "step_id": 7,
                        "number": None,
                        "label": None,
                        "kind": "send",
                        "verdict": "sent",
                        "text": "Step 1 (hello) was sent on Sunday 2026-05-17 09:00 Europe/Berlin.",
                    }
                ],
            }
        },
        "run_not_found",
    ),
    _describe(
        "post",
        "events",
        "reportEvent",
        "Tell what a subscriber did elsewhere: drips start and end by it. With `id`, a call can be repeated: it is answered as the first "
        "time, and nothing happens again. Needs the scope `events:write` or `drips:write`.",
        {"subscriber_id": 41023, "event_id": "5c3ad4fe-3b70-8b1a-9a51-2ab1b3f2a001"},
        "invalid_email",
        "email_too_long",
        "missing_subscriber_identifier",
        "invalid_subscriber_id",
        "subscriber_not_found",
        "invalid_id",
        "invalid_event",
        "invalid_properties",
        "properties_too_long",
        body=EventBody,
        example={
            "id": "order-4711",
            "email": "reader@example.com",
            "event": "order.paid",
            "properties": {"total": 49},
        },
    ),
)
