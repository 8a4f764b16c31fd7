"""So many posts a second and no more: a token bucket."""

from __future__ import annotations

from math import floor
from typing import Final

# What float arithmetic may lose on the way to a whole token: after months of uptime, moments are that coarse.
_ALMOST: Final = 1e-4


class TokenBucket:
    """Holds at most `burst` tokens, full at first, and gains `rate` of them a second.

    Moments are seconds of a monotonic clock, such as the event loop's. One that lies before the last is taken for it.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, *, rate: float, burst: int, at: float) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a bucket that never gives a token")
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = at

    def take(self, at: float, wanted: int) -> int:
        """How many of the wanted tokens there are; they are taken with this."""
        self._fill(at)
        granted = max(min(wanted, floor(self._tokens + _ALMOST)), 0)
        self._tokens -= granted
        return granted

    def put_back(self, count: int) -> None:
        """Tokens that were taken, and for which nothing was sent."""
        self._tokens = min(self._tokens + count, self._burst)

    def ready_at(self, at: float) -> float:
        """When the next token can be taken; `at` itself if there is one."""
        self._fill(at)
        missing = 1 - self._tokens
        return at if missing <= _ALMOST else self._at + missing / self._rate

    def _fill(self, at: float) -> None:
        if at > self._at:
            self._tokens = min(self._tokens + (at - self._at) * self._rate, self._burst)
            self._at = at
