"""How much one dispatcher does at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """`slots`: posts under way. `lease_seconds` must exceed the longest attempt by far: after it another dispatcher may
    post the same again. `order_seconds`: see `claim_deliveries`.
    """

    slots: int
    lease_seconds: float
    order_seconds: float

    @property
    def troubled(self) -> int:
        """Slots that endpoints with a recent failure may have: half of all."""
        return max(self.slots // 2, 1)

    @property
    def replays(self) -> int:
        """Slots that replayed deliveries may have: a quarter."""
        return max(self.slots // 4, 1)
