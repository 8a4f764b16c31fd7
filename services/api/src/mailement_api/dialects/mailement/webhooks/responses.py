"""Our words → wire."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from mailement_api.dialects.mailement.query import wire_moment as moment
from mailement_webhooks.deliveries import Attempt, Delivery
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.explanations import Blocker, Explanation, LastError
from mailement_webhooks.replays import Replay
from mailement_webhooks.secrets import rotation_step
from mailement_webhooks.usecases.list_deliveries import Page
from mailement_webhooks.usecases.pull_events import Pulled, PulledEvent
from mailement_webhooks.usecases.remove_payload import RemovedPayload
from mailement_webhooks.usecases.show_delivery import DeliveryReport
from mailement_webhooks.usecases.show_endpoint import EndpointReport, Failure

Wire = Mapping[str, object]


def endpoint(found: Endpoint) -> Wire:
    return {
        "id": found.id,
        "profile": found.profile,
        "url": found.url,
        "description": found.description,
        "event_types": found.event_types,
        "state": found.state,
        "state_reason": found.state_reason,
        "state_changed_at": moment(found.state_changed_at),
        "retries": found.retries,
        "ordered": found.ordered,
        "max_in_flight": found.max_in_flight,
        "rate_per_second": found.rate_per_second,
        "rotation": {
            "step": rotation_step(found),
            "staged_at": moment(found.secret_staged_at),
            "promoted_at": moment(found.secret_promoted_at),
        },
        "created_at": moment(found.created_at),
        "updated_at": moment(found.updated_at),
    }


def endpoint_report(report: EndpointReport) -> Wire:
    """The endpoint with how it fares."""
    return {
        **endpoint(report.endpoint),
        "waiting": report.waiting,
        "under_way": report.under_way,
        "recent": {
            "delivered": report.delivered,
            "failed": report.failed,
            "discarded": report.discarded,
        },
        "health": {
            "consecutive_failures": report.health.consecutive_failures,
            "first_failure_at": moment(report.health.first_failure_at),
            "last_success_at": moment(report.health.last_success_at),
            "resting_until": moment(report.resting_until),
            "resting_because": report.resting_because,
        },
        "last_failure": None if report.last_failure is None else _failure(report.last_failure),
        "secrets": {
            "key_ids": report.secrets.key_ids,
            "attempts_since_promotion": report.secrets.attempts_since_promotion,
            "refused_since_promotion": report.secrets.refused_since_promotion,
        },
    }


def delivery(found: Delivery) -> Wire:
    return {
        "id": found.id,
        "event_id": str(found.event_id),
        "endpoint_id": found.endpoint_id,
        "type": found.type,
        "sequence": found.sequence,
        "state": found.state,
        "reason": found.reason,
        "attempts": found.attempts,
        "occurred_at": moment(found.occurred_at),
        "created_at": moment(found.created_at),
        "finished_at": moment(found.finished_at),
        "next_attempt_at": moment(found.next_attempt_at),
    }


def page(found: Page) -> Wire:
    return {"deliveries": [delivery(each) for each in found.deliveries], "cursor": found.cursor}


def delivery_report(report: DeliveryReport) -> Wire:
    return {
        "delivery": delivery(report.delivery),
        "payload": _json(report.body),
        "attempts": [_attempt(each) for each in report.attempts],
    }


def explanation(found: Explanation) -> Wire:
    return {
        "delivery": delivery(found.delivery),
        "summary": found.summary,
        "blockers": [_blocker(each) for each in found.blockers],
        "next_attempt_at": moment(found.next_attempt_at),
        "remaining_schedule": [moment(each) for each in found.remaining],
        "hold_expires_at": moment(found.hold_expires_at),
        "last_error": None if found.last_error is None else _last_error(found.last_error),
        "can_be_resent": found.can_be_resent,
    }


def removed(found: RemovedPayload) -> Wire:
    return {"event_id": str(found.event_id), "delivery_ids": found.delivery_ids}


def pulled(found: Pulled) -> Wire:
    return {
        "endpoint_id": found.endpoint.id,
        "events": [_event(each) for each in found.events],
        "after": found.after,
        "last": found.last,
    }


def replay(found: Replay) -> Wire:
    left = found.time_left
    return {
        "id": found.id,
        "endpoint_id": found.endpoint_id,
        "types": found.filter.types,
        "outcomes": found.filter.outcomes,
        "from": moment(found.filter.occurred_from),
        "until": moment(found.filter.occurred_until),
        "rate_per_second": found.rate_per_second,
        "state": found.state,
        "total": found.total,
        "total_is_exact": found.total_is_exact,
        "enqueued": found.enqueued,
        "waiting": found.waiting,
        "delivered": found.delivered,
        "failed": found.failed,
        "seconds_left": None if left is None else round(left.total_seconds()),
        "created_at": moment(found.created_at),
        "finished_at": moment(found.finished_at),
    }


def _failure(found: Failure) -> Wire:
    return {
        "delivery_id": found.delivery_id,
        "failed_at": moment(found.failed_at),
        "reason": found.reason,
        "detail": found.detail,
        "status_code": found.status_code,
    }


def _attempt(found: Attempt) -> Wire:
    return {
        "number": found.number,
        "trigger": found.trigger,
        "outcome": found.outcome,
        "reason": found.reason,
        "detail": found.detail,
        "status_code": found.status_code,
        "request_head": found.request_head,
        "response_head": found.response_head,
        "response_body": found.response_body,
        "started_at": moment(found.started_at),
        "duration_ms": found.duration_ms,
        "phases_ms": {
            "dns": found.phases.dns,
            "connect": found.phases.connect,
            "tls": found.phases.tls,
            "first_byte": found.phases.first_byte,
            "body": found.phases.body,
        },
        "next_attempt_at": moment(found.next_attempt_at),
    }


def _blocker(found: Blocker) -> Wire:
    return {
        "kind": found.kind,
        "text": found.text,
        "since": moment(found.since),
        "until": moment(found.until),
        "delivery_id": found.delivery_id,
        "count": found.count,
    }


def _last_error(found: LastError) -> Wire:
    return {
        "reason": found.reason,
        "detail": found.detail,
        "status_code": found.status_code,
        "at": moment(found.at),
        "advice": found.advice,
    }


def _event(found: PulledEvent) -> Wire:
    return {
        "sequence": found.sequence,
        "event_id": str(found.event_id),
        "delivery_id": found.delivery_id,
        "type": found.type,
        "occurred_at": moment(found.occurred_at),
        "state": found.state,
        "payload": _json(found.body),
    }


def _json(body: bytes | None) -> orjson.Fragment | None:
    """The very bytes that are posted, which are JSON already."""
    return None if body is None else orjson.Fragment(body)
