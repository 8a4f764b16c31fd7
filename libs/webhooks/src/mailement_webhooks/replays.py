"""A replay: finished deliveries of one endpoint once more, at a rate of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mailement_common.ids import BrandId
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.ids import EndpointId, ReplayId, Sequence

# Of an endpoint's newest deliveries so many are looked at to count; with a longer past there may be more.
MOST_LOOKED_AT: Final = 1_000_000
# Each is looked after every second.
MOST_AT_A_TIME: Final = 20
DEFAULT_RATE: Final = 10.0
# One in a quarter of an hour, nearly.
SLOWEST_RATE: Final = 0.001
FASTEST_RATE: Final = 1_000.0
# What a delivery may have come to, to be replayed.
OUTCOMES: Final = (DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.DISCARDED)


class ReplayState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFilter:
    """None: any. `types` in the words of the endpoint's profile; `outcomes` of OUTCOMES; `occurred_until` is not included."""

    types: tuple[str, ...] | None = None
    outcomes: tuple[DeliveryState, ...] | None = None
    occurred_from: datetime | None = None
    occurred_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayCount:
    """`is_exact`: False where there may be more than were counted."""

    deliveries: int
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """`brand_id` None: its endpoint hears every brand of an account. `total`: how many the filter found at the start; not
    exact: at least so many. `enqueued`: how many of them have had their turn. `rate_per_second`: the most that take it.
    """

    id: ReplayId
    endpoint_id: EndpointId
    brand_id: BrandId | None
    filter: ReplayFilter
    rate_per_second: float
    state: ReplayState
    total: int
    total_is_exact: bool
    enqueued: int
    delivered: int
    failed: int
    at_sequence: Sequence
    through_sequence: Sequence
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @property
    def waiting(self) -> int:
        """In the queue or being sent."""
        if self.finished_at is not None:
            return 0
        return max(self.enqueued - self.delivered - self.failed, 0)

    @property
    def has_ended(self) -> bool:
        return self.state in {ReplayState.CANCELLED, ReplayState.FINISHED}

    @property
    def time_left(self) -> timedelta | None:
        """At its rate, if nothing holds it up. None: it does not run, or nobody knows how many there are."""
        if self.state is not ReplayState.RUNNING or not self.total_is_exact:
            return None
        return timedelta(seconds=(max(self.total - self.enqueued, 0) + self.waiting) / self.rate_per_second)
