"""What is told of an attempt: one line in the log, and its figures."""

from __future__ import annotations

from functools import cache
from typing import Any

from prometheus_client import Counter, Histogram

from mailement_common.ids import trace_id
from mailement_common.logs import logger
from mailement_webhook_dispatcher.conclusion import Conclusion
from mailement_webhook_dispatcher.metrics import (
    ATTEMPT_SECONDS,
    ATTEMPTS,
    BLOCKED,
    CONNECTIONS,
    DUE_LAG_SECONDS,
    LAG_SECONDS,
)
from mailement_webhooks.deliveries import AttemptOutcome, Phases, Reason, Trigger
from mailement_webhooks.endpoints import Profile

log = logger(__name__)


def report(conclusion: Conclusion, *, recorded: bool) -> None:
    """`recorded` False: the lease had ended, so that the ledger calls this attempt interrupted and a copy follows."""
    _count(conclusion)
    attempted, result = conclusion.attempted, conclusion.result
    delivery = attempted.delivery
    log.info(
        "webhook.attempted",
        delivery_id=delivery.id,
        event_id=str(delivery.event_id),
        endpoint_id=delivery.endpoint_id,
        brand_id=delivery.brand_id,
        type=delivery.type,
        attempt=delivery.attempt,
        trigger=delivery.trigger,
        outcome=result.outcome,
        reason=result.reason,
        status=result.status_code,
        duration_ms=result.duration_ms,
        **_milliseconds(result.phases),
        next_attempt_in_seconds=result.next_attempt_in,
        recorded=recorded,
        **_trace(delivery.traceparent),
    )


def _trace(traceparent: str | None) -> dict[str, str]:
    return {} if traceparent is None else {"trace_id": trace_id(traceparent)}


def _milliseconds(phases: Phases) -> dict[str, Any]:
    """Those that were reached."""
    return {f"{phase}_ms": spent for phase, spent in _spent(phases) if spent is not None}


def _spent(phases: Phases) -> tuple[tuple[str, int | None], ...]:
    return (
        ("dns", phases.dns),
        ("connect", phases.connect),
        ("tls", phases.tls),
        ("first_byte", phases.first_byte),
        ("body", phases.body),
    )


def _count(conclusion: Conclusion) -> None:
    attempted, result = conclusion.attempted, conclusion.result
    delivery = attempted.delivery
    _attempts(result.outcome, result.reason, attempted.workload.endpoint.profile).inc()
    if result.reason is Reason.BLOCKED_ADDRESS:
        BLOCKED.inc()
    if attempted.exchange.request_head:
        _connections(attempted.exchange.reused).inc()
    _phase("total").observe(attempted.took)
    for phase, spent in _spent(result.phases):
        if spent is not None:
            _phase(phase).observe(spent / 1000)
    if delivery.trigger is Trigger.AUTOMATIC:
        if delivery.attempt == 1:
            DUE_LAG_SECONDS.observe(max((attempted.started_at - delivery.created_at).total_seconds(), 0))
        if result.outcome is AttemptOutcome.DELIVERED:
            LAG_SECONDS.observe(max((attempted.finished_at - delivery.created_at).total_seconds(), 0))


# To look a series up by its labels each time would cost more than to count.


@cache
def _attempts(outcome: AttemptOutcome, reason: Reason | None, profile: Profile) -> Counter:
    return ATTEMPTS.labels(outcome, reason or "none", profile)


@cache
def _connections(reused: bool) -> Counter:
    return CONNECTIONS.labels("reused" if reused else "new")


@cache
def _phase(phase: str) -> Histogram:
    return ATTEMPT_SECONDS.labels(phase)
