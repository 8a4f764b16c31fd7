"""What this dispatcher knows to be due: endpoints, not deliveries, so that its size never grows with a backlog."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import islice
from typing import Final

from mailement_webhooks.ids import EndpointId

# So many moments that count no more are put up with, beside as many as those that do.
_MOST_PASSED_OVER: Final = 500


class Agenda:
    """Each endpoint is due now, due at a moment, parked until something is released, or not here.

    Moments are seconds on the caller's clock. The endpoints that are due now stand in a queue: who had a turn and is
    entered again stands at its end.
    """

    def __init__(self) -> None:
        self._now: dict[EndpointId, None] = {}
        self._later: dict[EndpointId, float] = {}
        # What was entered anew since stays here and is passed over when its moment comes.
        self._moments: list[tuple[float, EndpointId]] = []
        self._parked: dict[EndpointId, Hashable] = {}
        self._parks: dict[Hashable, dict[EndpointId, None]] = {}

    def __contains__(self, endpoint_id: EndpointId) -> bool:
        return endpoint_id in self._now or endpoint_id in self._later or endpoint_id in self._parked

    def enter(self, endpoint_id: EndpointId) -> None:
        """Due now. One that is parked stays so: whoever releases it finds the work."""
        if endpoint_id not in self._parked:
            self._later.pop(endpoint_id, None)
            self._now[endpoint_id] = None

    def enter_at(self, endpoint_id: EndpointId, moment: float) -> None:
        """Due then, unless something is due earlier."""
        if endpoint_id in self._now or endpoint_id in self._parked:
            return
        known = self._later.get(endpoint_id)
        if known is None or moment < known:
            self._later[endpoint_id] = moment
            heapq.heappush(self._moments, (moment, endpoint_id))
            self._sweep_out()

    def park(self, endpoint_id: EndpointId, key: Hashable) -> None:
        """Due, but nothing can be sent before `release(key)`."""
        self.forget(endpoint_id)
        self._parked[endpoint_id] = key
        self._parks.setdefault(key, {})[endpoint_id] = None

    def parked(self, key: Hashable) -> int:
        return len(self._parks.get(key, ()))

    def release(self, key: Hashable, limit: int | None = None) -> bool:
        """What was parked under the key, longest first and at most `limit`, is due now; tells whether anything was."""
        released = list(islice(self._parks.get(key, ()), limit))
        for endpoint_id in released:
            self.forget(endpoint_id)
            self._now[endpoint_id] = None
        return bool(released)

    def forget(self, endpoint_id: EndpointId) -> None:
        self._now.pop(endpoint_id, None)
        self._later.pop(endpoint_id, None)
        key = self._parked.pop(endpoint_id, None)
        if key is not None:
            del self._parks[key][endpoint_id]
            if not self._parks[key]:
                del self._parks[key]

    def turn_to(self, moment: float) -> None:
        """What was due at some moment up to this one is due now."""
        while self._moments and self._moments[0][0] <= moment:
            entered_for, endpoint_id = heapq.heappop(self._moments)
            if self._later.get(endpoint_id) == entered_for:
                self.enter(endpoint_id)

    @property
    def size(self) -> int:
        """How much it has to keep in mind, of whatever kind."""
        return len(self._now) + len(self._moments) + len(self._parked)

    @property
    def due(self) -> int:
        """How many are due now."""
        return len(self._now)

    def first(self, limit: int) -> list[EndpointId]:
        """The next in turn among those that are due now."""
        return list(islice(self._now, limit))

    def next_moment(self) -> float | None:
        """When the next one that is not due yet will be; None if there is none."""
        while self._moments and self._later.get(self._moments[0][1]) != self._moments[0][0]:
            heapq.heappop(self._moments)
        return self._moments[0][0] if self._moments else None

    def _sweep_out(self) -> None:
        """An endpoint that rests is entered anew with each of its events: they must not pile up until the rest is over."""
        if len(self._moments) > 2 * len(self._later) + _MOST_PASSED_OVER:
            self._moments = [(moment, endpoint_id) for endpoint_id, moment in self._later.items()]
            heapq.heapify(self._moments)
