"""One pace for all mailers: rates and days are rows, and whoever wants to send takes his share of them first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_newsletter.queries.executor import Executor
from mailement_newsletter.rules.pacing import Grant, Want, bucket_for

SQL: Final = queries_beside(__file__)

# After a provider had to ask for silence: half the rate for so long, then a tenth more every minute.
_SLOWED: Final = timedelta(seconds=60)


@dataclass(slots=True)
class _Places:
    """Every bucket and day that some wants need, once and in the order in which they are locked."""

    buckets: dict[str, tuple[float, int]] = field(default_factory=dict)
    days: dict[tuple[str, date], int] = field(default_factory=dict)

    @classmethod
    def of(cls, wants: Iterable[Want]) -> _Places:
        """Of two opinions on one place the stricter holds."""
        places = cls()
        for want in wants:
            for bucket in want.buckets:
                step, burst = places.buckets.get(bucket.key, (0.0, bucket.burst))
                stricter = (max(step, bucket.interval.total_seconds()), min(burst, bucket.burst))
                places.buckets[bucket.key] = stricter
            for quota in want.days:
                known = places.days.get((quota.key, quota.day), quota.limit)
                places.days[quota.key, quota.day] = min(known, quota.limit)
        places.buckets = dict(sorted(places.buckets.items()))
        places.days = dict(sorted(places.days.items()))
        return places

    def needs(self, wants: Iterable[Want]) -> list[list[int]]:
        """For each want the numbers of its places, from 1, days after buckets."""
        buckets = {key: number for number, key in enumerate(self.buckets, start=1)}
        days = {day: number for number, day in enumerate(self.days, start=len(buckets) + 1)}
        return [
            sorted(
                {
                    *(buckets[bucket.key] for bucket in want.buckets),
                    *(days[quota.key, quota.day] for quota in want.days),
                }
            )
            for want in wants
        ]


async def reserve(executor: Executor, wants: Sequence[Want], now: datetime) -> list[Grant]:
    """What may leave now of each want, the first served first; it is taken by that.

    One statement, however many wants; none, if no want has a limit.
    """
    if not any(want.limited for want in wants):
        return [Grant(mails=want.mails) for want in wants]
    places = _Places.of(wants)
    rows = await executor.fetch(
        SQL["reserve"],
        now,
        list(places.buckets),
        [step for step, _ in places.buckets.values()],
        [burst for _, burst in places.buckets.values()],
        [key for key, _ in places.days],
        [day for _, day in places.days],
        list(places.days.values()),
        [want.mails for want in wants],
        places.needs(wants),
    )
    return [
        Grant(mails=row["mails"], again_at=row["again_at"], day_used_up=row["day_used_up"]) for row in rows
    ]


async def give_back(executor: Executor, wants: Sequence[Want]) -> None:
    """Returns `mails` of each want that were granted and did not leave, so that trying again takes no second share.

    The days get them back. A rate does not: what is past cannot be used any more, and the provider may have been asked.
    """
    days: dict[tuple[str, date], int] = {}
    for want in wants:
        for quota in want.days:
            days[quota.key, quota.day] = days.get((quota.key, quota.day), 0) + want.mails
    if days:
        await executor.execute(
            SQL["give_back"], [key for key, _ in days], [day for _, day in days], list(days.values())
        )


async def slow_down(executor: Executor, key: str, retry_after: timedelta, now: datetime) -> None:
    """The provider said 429: nothing leaves through this bucket for `retry_after`, from any mailer.

    Then half the rate for a minute, and a tenth more every minute; told so again, half of that, and so on, down to
    a tenth. Where no rate is known there is nothing to halve.
    """
    await executor.execute(SQL["slow_down"], key, now + retry_after, now, _SLOWED)


async def observe(executor: Executor, key: str, *, limit: int, window: timedelta, now: datetime) -> None:
    """Takes over the limit that a provider tells of itself (`ratelimit-policy: 5;w=1`). Cheap to repeat."""
    told = bucket_for(key, limit=limit, window=window)
    await executor.execute(SQL["observe"], key, now, told.interval.total_seconds(), told.burst)
