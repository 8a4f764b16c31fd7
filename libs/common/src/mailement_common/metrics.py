"""Prometheus metrics that more than one service has. Names: `mailement_<noun>_<unit>`; no label per brand."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

OUTBOX_PUBLISHED: Final = Counter("mailement_outbox_published_total", "Events handed to the broker.")
OUTBOX_BURIED: Final = Counter("mailement_outbox_buried_total", "Events that the broker would not take.")
# One figure that shows a broker that is away, a relay that is stuck, and an event that will not go.
OUTBOX_OLDEST: Final = Gauge("mailement_outbox_oldest_seconds", "How long the oldest event has been waiting.")
CONSUMING: Final = Gauge(
    "mailement_bus_consuming", "1 while the broker hands events of the queue to this process.", ["queue"]
)
