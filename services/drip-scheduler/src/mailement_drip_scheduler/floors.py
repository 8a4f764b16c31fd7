"""Where to begin looking for due steps.

Whatever a claim has taken leaves a dead entry in the index of due runs until it is vacuumed, and while somebody holds an
old snapshot it cannot be. A busy drip would walk over more of them with every batch. So its next claim begins where the
last one ended, less a margin for runs that were enrolled a moment before; every now and then it looks from the first.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Final

from mailement_newsletter.ids import DripId
from mailement_newsletter.usecases.advance_drips import NO_FLOORS, Claimed, Floors

# A run is due from the moment at which its transaction began; that may commit a little later than its neighbours.
_MARGIN: Final = timedelta(seconds=2)
# So long may a run wait that was committed later than that, or given back by a scheduler that died.
_LOOK_FROM_THE_FIRST_SECONDS: Final = 15.0
# Fewer dead entries are not worth remembering a place for.
_WORTH: Final = 20


class FloorBook:
    """The places of the drips that were busy lately."""

    def __init__(self) -> None:
        self._floors: dict[DripId, datetime] = {}
        self._since = time.monotonic()

    @property
    def floors(self) -> Floors:
        if time.monotonic() - self._since > _LOOK_FROM_THE_FIRST_SECONDS:
            self.forget()
        return self._floors or NO_FLOORS

    def note(self, drip: DripId, claimed: Claimed) -> None:
        if claimed.taken >= _WORTH:
            self._floors[drip] = claimed.reached - _MARGIN

    def forget(self) -> None:
        self._floors = {}
        self._since = time.monotonic()
