"""Webhooks as OpenAPI 3.1, from the same models and codes that parse and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from mailement_api.dialects.mailement.openapi import (
    CURSOR,
    ID_SCHEMA,
    LIMIT,
    MOMENT_SCHEMA,
    Operation,
    Parameter,
)
from mailement_api.dialects.mailement.responses import Family
from mailement_api.dialects.mailement.webhooks.requests import (
    ChangeEndpointBody,
    ChangeReplayBody,
    CreateEndpointBody,
    EnableBody,
    ReplayBody,
)
from mailement_webhooks.deliveries import DeliveryState

_AT: Final = "2026-05-19T17:42:00.000+00:00"
_EVENT: Final = "5c3ad4fe-3b70-8b1a-9a51-2ab1b3f2a001"
_SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="  # noqa: S105  an example
_ENDPOINT: Final = {
    "id": 7,
    "profile": "mailement",
    "url": "https://receiver.example/hook",
    "description": None,
    "event_types": ["subscriber.confirmed", "subscriber.unsubscribed"],
    "state": "enabled",
    "state_reason": None,
    "state_changed_at": _AT,
    "retries": "schedule",
    "ordered": False,
    "max_in_flight": None,
    "rate_per_second": None,
    "rotation": {"step": "settled", "staged_at": None, "promoted_at": None},
    "created_at": _AT,
    "updated_at": _AT,
}
_REPORT: Final = {
    **_ENDPOINT,
    "waiting": 0,
    "under_way": 0,
    "recent": {"delivered": 4812, "failed": 3, "discarded": 0},
    "health": {
        "consecutive_failures": 0,
        "first_failure_at": None,
        "last_success_at": None,
        "resting_until": None,
        "resting_because": None,
    },
    "last_failure": None,
    "secrets": {"key_ids": ["2026"], "attempts_since_promotion": 0, "refused_since_promotion": 0},
}
_DELIVERY: Final = {
    "id": 90210,
    "event_id": _EVENT,
    "endpoint_id": 7,
    "type": "subscriber.confirmed",
    "sequence": 4816,
    "state": "pending",
    "reason": None,
    "attempts": 1,
    "occurred_at": _AT,
    "created_at": _AT,
    "finished_at": None,
    "next_attempt_at": None,
}
_REPLAY: Final = {
    "id": 3,
    "endpoint_id": 7,
    "types": None,
    "outcomes": None,
    "from": None,
    "until": None,
    "rate_per_second": 10.0,
    "state": "running",
    "total": 1200,
    "total_is_exact": True,
    "enqueued": 40,
    "waiting": 4,
    "delivered": 36,
    "failed": 0,
    "seconds_left": None,
    "created_at": _AT,
    "finished_at": None,
}

_ENDPOINT_ID: Final = Parameter(name="endpoint_id", description="The endpoint.", schema=ID_SCHEMA)

_FIELDS: Final = (
    "invalid_url",
    "invalid_event_types",
    "invalid_description",
    "invalid_retries",
    "invalid_ordered",
    "invalid_max_in_flight",
    "invalid_rate_per_second",
)
_ONE_ENDPOINT: Final = ("endpoint_not_found",)
_ROTATION: Final = ("endpoint_not_found", "wrong_rotation_step")
_ONE_DELIVERY: Final = ("delivery_not_found",)
_ONE_REPLAY: Final = ("replay_not_found", "replay_has_ended")


def _describe(
    method: str,
    path: str,
    name: str,
    summary: str,
    answer: Mapping[str, object],
    *codes: str,
    id_of: str = "endpoint",
    body: type[BaseModel] | None = None,
    body_required: bool = True,
    example: Mapping[str, object] | None = None,
    query: tuple[Parameter, ...] = (),
) -> Operation:
    return Operation(
        method=method,
        path=f"/api/v1/webhooks/{path}",
        name=name,
        summary=summary,
        tag="Webhooks",
        body=body,
        body_required=body_required,
        family=Family.SUCCESS,
        error_schema="webhook_error",
        example=example,
        answer={"success": True, **answer},
        codes=codes,
        id_of=id_of,
        query=query,
    )


_ENDPOINTS: Final = (
    _describe("get", "endpoints", "listEndpoints", "The brand's endpoints.", {"endpoints": [_ENDPOINT]}),
    _describe(
        "post",
        "endpoints",
        "createEndpoint",
        "Create an endpoint. Its secret is in this answer and in no other.",
        {"endpoint": _ENDPOINT, "secret": _SECRET},
        *_FIELDS,
        "invalid_profile",
        "too_many_endpoints",
        body=CreateEndpointBody,
        example={"url": "https://receiver.example/hook", "event_types": ["subscriber.confirmed"]},
    ),
    _describe(
        "get",
        "endpoints/{id}",
        "showEndpoint",
        "An endpoint, how its deliveries fare, and where the rotation of its secret stands.",
        {"endpoint": _REPORT},
        *_ONE_ENDPOINT,
    ),
    _describe(
        "patch",
        "endpoints/{id}",
        "changeEndpoint",
        "Change what is named. `null` takes `description`, `max_in_flight` or `rate_per_second` away.",
        {"endpoint": _ENDPOINT},
        *_ONE_ENDPOINT,
        *_FIELDS,
        body=ChangeEndpointBody,
        example={"ordered": True, "max_in_flight": 4},
    ),
    _describe(
        "delete",
        "endpoints/{id}",
        "deleteEndpoint",
        "Delete an endpoint. What waits for it is discarded.",
        {"deleted": 7},
        *_ONE_ENDPOINT,
    ),
    _describe(
        "post",
        "endpoints/{id}/pause",
        "pauseEndpoint",
        "Hold what comes for an endpoint, for some days.",
        {"endpoint": _ENDPOINT},
        *_ONE_ENDPOINT,
    ),
    _describe(
        "post",
        "endpoints/{id}/enable",
        "enableEndpoint",
        "Let deliveries flow again and forget the failures. `drain` says what becomes of those that wait.",
        {"endpoint": _ENDPOINT},
        *_ONE_ENDPOINT,
        "invalid_drain",
        body=EnableBody,
        body_required=False,
        example={"drain": "oldest_first"},
    ),
    _describe(
        "post",
        "endpoints/{id}/secret/stage",
        "stageSecret",
        "Make the next secret, which signs beside the active one in `webhook-signature`. It is in this answer only.",
        {"endpoint": _ENDPOINT, "secret": _SECRET},
        *_ROTATION,
    ),
    _describe(
        "post",
        "endpoints/{id}/secret/promote",
        "promoteSecret",
        "Make the staged secret the active one; the one before it signs on beside it.",
        {"endpoint": _ENDPOINT},
        *_ROTATION,
    ),
    _describe(
        "post",
        "endpoints/{id}/secret/retire",
        "retireSecret",
        "Forget the secret that was active before the promotion.",
        {"endpoint": _ENDPOINT},
        *_ROTATION,
    ),
    _describe(
        "post",
        "endpoints/{id}/secret/rollback",
        "rollBackSecret",
        "Drop what is staged, or take the promotion back.",
        {"endpoint": _ENDPOINT},
        *_ROTATION,
    ),
)

_DELIVERIES: Final = (
    _describe(
        "get",
        "deliveries",
        "listDeliveries",
        "The brand's deliveries, the newest first; those that wait in the order of their turn.",
        {"deliveries": [_DELIVERY], "cursor": None},
        "invalid_state",
        "invalid_endpoint_id",
        "invalid_type",
        "invalid_from",
        "invalid_until",
        "invalid_limit",
        "invalid_cursor",
        query=(
            Parameter(
                name="state",
                description="Only these.",
                schema={"type": "string", "enum": [state.value for state in DeliveryState]},
            ),
            _ENDPOINT_ID,
            Parameter(name="type", description="Only of this event.", schema={"type": "string"}),
            Parameter(name="from", description="Only events from then on.", schema=MOMENT_SCHEMA),
            Parameter(name="until", description="Only events before then.", schema=MOMENT_SCHEMA),
            LIMIT,
            CURSOR,
        ),
    ),
    _describe(
        "get",
        "deliveries/{id}",
        "showDelivery",
        "A delivery with what it carries and every attempt.",
        {"delivery": _DELIVERY, "payload": None, "attempts": []},
        *_ONE_DELIVERY,
        id_of="delivery",
    ),
    _describe(
        "post",
        "deliveries/{id}/resend",
        "resendDelivery",
        "Send a delivery again, or now instead of later.",
        {"delivery": _DELIVERY},
        *_ONE_DELIVERY,
        "delivery_under_way",
        "payload_removed",
        "endpoint_deleted",
        id_of="delivery",
    ),
    _describe(
        "get",
        "deliveries/{id}/explain",
        "explainDelivery",
        "Why a delivery has not arrived, when it is tried again, and what to do.",
        {
            "delivery": _DELIVERY,
            "summary": "Not delivered yet: its next attempt is due at 2026-05-19 17:42:30 UTC.",
            "blockers": [
                {
                    "kind": "not_due",
                    "text": "its next attempt is due at 2026-05-19 17:42:30 UTC",
                    "since": None,
                    "until": "2026-05-19T17:42:30.000+00:00",
                    "delivery_id": None,
                    "count": None,
                }
            ],
            "next_attempt_at": None,
            "remaining_schedule": ["2026-05-19T17:42:30.000+00:00"],
            "hold_expires_at": None,
            "last_error": None,
            "can_be_resent": False,
        },
        *_ONE_DELIVERY,
        id_of="delivery",
    ),
    _describe(
        "delete",
        "deliveries/{id}/payload",
        "removePayload",
        "Forget what a delivery carried, for all deliveries that share it.",
        {"event_id": _EVENT, "delivery_ids": [90210]},
        *_ONE_DELIVERY,
        id_of="delivery",
    ),
    _describe(
        "get",
        "events",
        "pullEvents",
        "What an endpoint was sent after a number of its `webhook-sequence`, in order: to fill a gap.",
        {
            "endpoint_id": 7,
            "events": [
                {
                    "sequence": 4816,
                    "event_id": _EVENT,
                    "delivery_id": 90210,
                    "type": "subscriber.confirmed",
                    "occurred_at": _AT,
                    "state": "failed",
                    "payload": None,
                }
            ],
            "after": 4816,
            "last": 4816,
        },
        "endpoint_not_found",
        "missing_endpoint_id",
        "invalid_endpoint_id",
        "invalid_after",
        "invalid_limit",
        query=(
            Parameter(
                name="endpoint_id",
                description="The endpoint; may be left out where the brand has one.",
                schema=ID_SCHEMA,
            ),
            Parameter(
                name="after",
                description="The last `webhook-sequence` that arrived.",
                schema={"type": "integer", "minimum": 0, "default": 0},
            ),
            LIMIT,
        ),
    ),
)

_REPLAYS: Final = (
    _describe(
        "get",
        "replays",
        "listReplays",
        "The replays of the brand's endpoints, the newest first.",
        {"replays": [_REPLAY], "cursor": None},
        "invalid_endpoint_id",
        "invalid_limit",
        "invalid_cursor",
        query=(_ENDPOINT_ID, LIMIT, CURSOR),
    ),
    _describe(
        "post",
        "replays",
        "startReplay",
        "Send finished deliveries of an endpoint once more, behind live ones. With `dry_run`, `total` is all that comes back.",
        {"replay": _REPLAY},
        "endpoint_not_found",
        "missing_endpoint_id",
        "invalid_endpoint_id",
        "invalid_types",
        "invalid_outcomes",
        "invalid_from",
        "invalid_until",
        "invalid_rate_per_second",
        "invalid_dry_run",
        "too_many_replays",
        body=ReplayBody,
        example={"outcomes": ["failed"], "from": "2026-05-19T00:00:00Z", "rate_per_second": 10},
    ),
    _describe(
        "get",
        "replays/{id}",
        "showReplay",
        "A replay and how far it has come.",
        {"replay": _REPLAY},
        "replay_not_found",
        id_of="replay",
    ),
    _describe(
        "patch",
        "replays/{id}",
        "changeReplay",
        "Give a replay another rate.",
        {"replay": _REPLAY},
        *_ONE_REPLAY,
        "invalid_rate_per_second",
        id_of="replay",
        body=ChangeReplayBody,
        example={"rate_per_second": 2},
    ),
    *(
        _describe(
            "post",
            f"replays/{{id}}/{verb}",
            f"{verb}Replay",
            summary,
            {"replay": _REPLAY},
            *_ONE_REPLAY,
            id_of="replay",
        )
        for verb, summary in (
            ("pause", "Let a replay stand still; what it has put into the queue is still sent."),
            ("resume", "Let a paused replay go on."),
            ("cancel", "End a replay; what it has put into the queue is taken out again."),
        )
    ),
)

OPERATIONS: Final = (*_ENDPOINTS, *_DELIVERIES, *_REPLAYS)
