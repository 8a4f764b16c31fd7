"""What the dispatcher counts. No label per endpoint or brand: those numbers come from the ledger."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

ATTEMPTS: Final = Counter("mailement_webhook_attempts_total", "Attempts by what became of them.", ["outcome"])
ATTEMPT_SECONDS: Final = Histogram(
    "mailement_webhook_attempt_seconds",
    "From the start of an attempt to its outcome.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LAG_SECONDS: Final = Histogram(
    "mailement_webhook_lag_seconds",
    "From the event to its delivery.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600),
)
