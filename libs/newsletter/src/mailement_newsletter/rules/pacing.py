"""What may leave when: buckets give out a rate, days give out an amount.

A bucket is GCRA, the leaky bucket that is one moment: `tat`, when the next mail would be due if all came evenly
(ITU-T I.371; the same as a token bucket). A day counts what left on one date (UTC).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

# Of what a provider allows: its clock and ours differ, and its other customers' habits are not known to us.
_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """`key` names what is shared by all replicas: `account:7`. `interval` lies between two mails, zero for no limit that
    is known; what the provider tells of itself (`observe`) holds beside it. `burst`: how many may leave at once after a
    rest. `share` of the rate is used at present, since the provider had to ask for less; the row of the bucket decides.
    """

    key: str
    interval: timedelta = timedelta(0)
    burst: int = 1
    share: float = 1.0

    @property
    def pace(self) -> timedelta:
        """What lies between two mails at present, as far as is known here: to plan ahead by."""
        return self.interval / self.share


@dataclass(frozen=True, slots=True, kw_only=True)
class DayQuota:
    """At most `limit` mails under `key` on `day`."""

    key: str
    day: date
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """`mails` that would like to leave now, and everything that they need room in."""

    mails: int
    buckets: Sequence[Bucket] = ()
    days: Sequence[DayQuota] = ()

    @property
    def limited(self) -> bool:
        return bool(self.buckets or self.days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """`mails` may leave now. If that is fewer than wanted, `again_at` says when to ask for the rest.

    `day_used_up`: it is a day's quota that is in the way, not the rate: another sender may have room.
    """

    mails: int
    again_at: datetime | None = None
    day_used_up: bool = False


def bucket_for(key: str, *, limit: float, window: timedelta) -> Bucket:
    """The bucket that lets no `window`, wherever it begins, have more than `limit` mails.

    Nine tenths of the rate and a tenth at once: a window holds at most burst + window/interval of them. Rates of less
    than one mail in a window are those of a longer one.
    """
    return Bucket(key=key, interval=window / (_SHARE * limit), burst=max(1, int(limit * (1 - _SHARE) + 1e-9)))
