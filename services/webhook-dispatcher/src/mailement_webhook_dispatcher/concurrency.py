"""How many posts one endpoint may have under way: found by trying, as TCP finds its window (RFC 5681)."""

from __future__ import annotations

from math import inf
from typing import Final

FIRST_LIMIT: Final = 2


class AdaptiveLimit:
    """`limit` starts at two, doubles with every round of successes up to `cap`, and is halved by a loss.

    After the first loss it grows by one a round: what was too much once is approached slowly. A loss is an answer that
    asks for less, or none in time: a timeout, 429, 503, a connection that failed. Posts that were under way when the
    limit was cut say nothing new; however many of them are lost, that is one cut.

    Moments are seconds of a monotonic clock.
    """

    __slots__ = ("_cap", "_cautious", "_cut_at", "_successes", "limit")

    def __init__(self, *, cap: int) -> None:
        if cap < 1:
            raise ValueError("an endpoint that may never be posted to")
        self._cap = cap
        self.restart()

    def restart(self) -> None:
        """As if nothing were known of the endpoint: when it comes back, it is ramped up and not stampeded."""
        self.limit = min(FIRST_LIMIT, self._cap)
        self._successes = 0
        self._cautious = False
        self._cut_at = -inf

    def recap(self, cap: int) -> None:
        """The cap was changed by somebody; what was learned stays."""
        self._cap = cap
        self.limit = min(self.limit, cap)

    def succeeded(self) -> None:
        if self.limit >= self._cap:
            return
        self._successes += 1
        if self._successes >= self.limit:
            self._successes = 0
            self.limit = min(self.limit + 1 if self._cautious else self.limit * 2, self._cap)

    def lost(self, *, began_at: float, at: float) -> None:
        if began_at < self._cut_at:
            return
        self.limit = max(self.limit // 2, 1)
        self._successes = 0
        self._cautious = True
        self._cut_at = at
