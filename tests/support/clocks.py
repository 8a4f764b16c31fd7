"""A clock that a test sets ahead."""

from __future__ import annotations

from datetime import datetime, timedelta

from mailement_common.clock import SystemClock


class ClockAhead:
    def __init__(self) -> None:
        self._machine = SystemClock()
        self._ahead = timedelta()

    def now(self) -> datetime:
        return self._machine.now() + self._ahead

    def advance(self, by: timedelta) -> None:
        self._ahead += by
