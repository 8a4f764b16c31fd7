"""Prometheus metrics that more than one service has. Names: `mailement_<noun>_<unit>`; no label per brand."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

OUTBOX_PUBLISHED: Final = Counter("mailement_outbox_published_total", "Events handed to the broker.")
OUTBOX_BURIED: Final = Counter("mailement_outbox_buried_total", "Events that the broker would not take.")
