"""Time comes from a Clock that is handed in, so that a test can say what time it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Protocol

# Of moments that people name. All that is reckoned from one, however long the delays, still is a moment to Python and its drivers.
EARLIEST_YEAR: Final = 1970
LATEST_YEAR: Final = 2999


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, aware and in UTC."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251  the one place that asks the machine
