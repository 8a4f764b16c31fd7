"""The mailer's Prometheus metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

MESSAGES: Final = Counter("mailement_messages_total", "Attempts by what came of them.", ["outcome"])
STANDSTILLS: Final = Gauge(
    "mailement_mail_standstills",
    "Brands and kinds of mail that wait for a way, by what would open one.",
    ["waits_for"],
)
SEND_SECONDS: Final = Histogram(
    "mailement_message_send_seconds",
    "Time that the provider took for one mail.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 90),
)
LAG_SECONDS: Final = Histogram(
    "mailement_message_lag_seconds",
    "Time from a message's creation to the provider's yes.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 3600, 14400),
)
