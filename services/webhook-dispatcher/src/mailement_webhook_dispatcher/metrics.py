"""What the dispatcher counts. No label per endpoint or brand: those numbers come from the ledger."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS: Final = Counter(
    "mailement_webhook_attempts_total",
    "Attempts by what became of them; reason is none for those that were delivered.",
    ["outcome", "reason", "profile"],
)
INTERRUPTED: Final = Counter(
    "mailement_webhook_interrupted_total",
    "Attempts that a dead dispatcher left behind, as found by this one.",
)
BLOCKED: Final = Counter(
    "mailement_webhook_blocked_total", "Attempts that ended at an address that webhooks may not reach."
)
CONNECTIONS: Final = Counter(
    "mailement_webhook_connections_total", "Attempts by the connection that they went over.", ["connection"]
)
ATTEMPT_SECONDS: Final = Histogram(
    "mailement_webhook_attempt_seconds",
    "The time of an attempt, by phase; total is from its start to its outcome.",
    ["phase"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_LAG_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600)
LAG_SECONDS: Final = Histogram(
    "mailement_webhook_lag_seconds", "From a delivery's row to its arrival.", buckets=_LAG_BUCKETS
)
DUE_LAG_SECONDS: Final = Histogram(
    "mailement_webhook_due_lag_seconds",
    "From the moment when a first attempt was due to its start.",
    buckets=_LAG_BUCKETS,
)
IN_FLIGHT: Final = Gauge("mailement_webhook_inflight", "POSTs under way.")
OWNED_SHARDS: Final = Gauge("mailement_webhook_owned_shards", "Shards that this dispatcher owns, of 64.")
OPEN_BREAKERS: Final = Gauge(
    "mailement_webhook_breaker_open", "Endpoints of this dispatcher whose breaker is open."
)
PENDING: Final = Gauge(
    "mailement_webhook_pending", "Deliveries that wait or are under way, at most 100,000 are counted."
)
PAST_DUE: Final = Gauge(
    "mailement_webhook_past_due",
    "Of these, those that nothing holds and that should have been sent a minute ago.",
)
HELD: Final = Gauge(
    "mailement_webhook_held", "Of these, those whose endpoint is paused, disabled or resting."
)
RECONCILE_MISSING: Final = Gauge(
    "mailement_webhook_reconcile_missing",
    "Recent deliveries that should be there and are not, or that nobody will send. Must be 0.",
)
