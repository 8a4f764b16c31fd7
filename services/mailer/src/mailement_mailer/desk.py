"""One mail account at work: what waits for it, in fair order, and what is on the wire."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from mailement_common.ids import BrandId
from mailement_mailer.providers.fleet import AccountInUse
from mailement_mailer.providers.port import RenderedMail
from mailement_mailer.routes import Route
from mailement_newsletter.ids import BatchId
from mailement_newsletter.queries.messages import Claimed, Lease
from mailement_newsletter.rules.pacing import Bucket

# So many requests of a batch provider at the same time; it is the requests that it counts.
_BATCHES_AT_ONCE: Final = 4
# Mails in hand for each that can be on the wire: enough that claims are large, few enough that they are soon gone.
_IN_HAND: Final = 4
# What can leave within this waits here, where the pace is known.
_AHEAD: Final = timedelta(seconds=5)
# What can go no other way waits for the end of a rest here, if that is near, so that it has the next turn.
_LONGEST_STAND: Final = timedelta(minutes=5)
# Of the places in hand, as many as one brand may have.
_SHARE: Final = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A mail that is ready to go."""

    message: Claimed
    mail: RenderedMail
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What goes out in one request. `batch` None: a single mail; `is_frozen`: the batch has gone out before."""

    jobs: Sequence[Job]
    batch: BatchId | None = None
    is_frozen: bool = False


@dataclass(order=True, slots=True)
class _Entry:
    """The urgent first, then brands in turn."""

    priority: int
    tag: int
    number: int
    unit: Unit = field(compare=False)


class _Pile:
    """Mails, counted by brand. One mail may be there under two leases, when the first has ended without our notice."""

    def __init__(self) -> None:
        self._mails: dict[Lease, Claimed] = {}
        self._of_brand: Counter[BrandId] = Counter()

    def __len__(self) -> int:
        return len(self._mails)

    def of(self, brand: BrandId) -> int:
        return self._of_brand[brand]

    def mails(self) -> Iterable[Claimed]:
        return self._mails.values()

    def add(self, message: Claimed) -> None:
        self._mails[message.lease] = message
        self._of_brand[message.brand.id] += 1

    def remove(self, message: Claimed) -> None:
        """If it is there."""
        if self._mails.pop(message.lease, None) is None:
            return
        self._of_brand[message.brand.id] -= 1
        if not self._of_brand[message.brand.id]:
            del self._of_brand[message.brand.id]


class Desk:
    """`key` names the account's bucket. `deliver` is called for each unit, so many at a time as there are slots; `turn`
    before it: it returns whether one may go. `put_back` gets what waits when the desk rests, but for what is frozen, if the
    rest is short. `keep_running` runs a loop again that fails, until it returns: nobody else would work off what waits
    here.
    """

    def __init__(
        self,
        *,
        key: str,
        account: AccountInUse | None,
        concurrency: int,
        batch_max: int,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        turn: Callable[[Desk], Awaitable[bool]],
        deliver: Callable[[Desk, Unit], Awaitable[None]],
        put_back: Callable[[Desk, Sequence[Unit]], Awaitable[None]],
        keep_running: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
        freed: Callable[[], None],
    ) -> None:
        self.key = key
        self.account = account
        self.bucket: Bucket | None = None
        self.trouble: str | None = None
        self._slots = concurrency if batch_max == 1 else min(concurrency, _BATCHES_AT_ONCE)
        self.batch_max = batch_max
        self._capacity = self._slots * batch_max * (_IN_HAND if batch_max == 1 else 2)
        self._spawn = spawn
        self._turn = turn
        self._deliver = deliver
        self._put_back = put_back
        self._keep_running = keep_running
        self._freed = freed
        self._waiting: list[_Entry] = []
        self._in_hand = _Pile()
        # Of those in hand: on the wire, or their outcome is not written down yet.
        self._away = _Pile()
        self._busy = 0
        self._asking = 0
        self._resting_until = 0.0
        self._turn_at = 0.0
        self._closed_until = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._numbers = 0
        # Start-time fair queueing: a brand's mails stand as far apart as those of the others let them.
        self._tag = 0
        self._tags: dict[BrandId, int] = {}

    @property
    def _places(self) -> int:
        """At a slow pace as few as can leave soon: what waits here waits for no other mailer, and for no other sender."""
        if self.bucket is None or not self.bucket.pace:
            return self._capacity
        return min(self._capacity, max(1, int(_AHEAD / self.bucket.pace)) * self.batch_max)

    @property
    def room(self) -> int:
        """How many more mails may be claimed for this account; none while it rests."""
        return 0 if self.is_resting else max(0, self._places - self._taken)

    @property
    def room_again(self) -> int:
        """How many more mails that have gone out before may come, also while it rests."""
        return max(0, self._places - self._taken) if self._lets_stand else 0

    def room_for(self, brand: BrandId) -> int:
        """How many of them may be a brand's: the last places are kept for whoever comes later."""
        in_hand = self._in_hand.of(brand)
        waiting = in_hand - self._away.of(brand)
        return max(0, min(_share(self._places) - waiting, _share(self._capacity) - in_hand))

    @property
    def _taken(self) -> int:
        """Of the places. What is away has left its place to others, up to the most that may be in hand at all."""
        waiting = len(self._in_hand) - len(self._away)
        return max(waiting, len(self._in_hand) - (self._capacity - self._places))

    @property
    def is_resting(self) -> bool:
        return self.rests_for > 0

    @property
    def rests_for(self) -> float:
        """Seconds for which it takes nothing on; zero or less: it does."""
        return max(self._resting_until, self._turn_at) - time.monotonic()

    @property
    def closed_for(self) -> float:
        """Seconds for which whoever has another account had better take that; zero or less: it is open."""
        return self._closed_until - time.monotonic()

    @property
    def in_hand(self) -> Iterable[Claimed]:
        """What waits here and what is on the wire: ours until it is let go."""
        return self._in_hand.mails()

    def take_in_hand(self, messages: Iterable[Claimed]) -> None:
        """They have been claimed for this account."""
        for message in messages:
            self._in_hand.add(message)

    def let_go(self, messages: Iterable[Claimed]) -> None:
        """They are done with, or back in the queue."""
        with self._telling():
            for message in messages:
                self._in_hand.remove(message)
                self._away.remove(message)

    def _send_away(self, unit: Unit) -> None:
        with self._telling():
            for job in unit.jobs:
                self._away.add(job.message)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Of places that become free: once half of them are, so that claims are large, or when nothing is left to do."""
        taken = self._taken
        yield
        if not self._in_hand or taken > self._places // 2 >= self._taken:
            self._freed()

    def takes(self, unit: Unit) -> bool:
        """Whether it may stand in line now."""
        return not self.is_resting or (unit.is_frozen and self._lets_stand)

    @property
    def _lets_stand(self) -> bool:
        return self.closed_for <= 0 and self.rests_for <= _LONGEST_STAND.total_seconds()

    def push(self, unit: Unit) -> None:
        """Puts a unit in line and sees that somebody works."""
        first = unit.jobs[0].message
        brand = first.brand.id
        tag = max(self._tag, self._tags.get(brand, 0)) + 1
        self._tags[brand] = tag
        self._numbers += 1
        heapq.heappush(self._waiting, _Entry(first.priority, tag, self._numbers, unit))
        self._staff()

    def keep_to(self, bucket: Bucket | None) -> None:
        """The account's rate, as it is now. The turn that was told under another one may come sooner; a silence that the
        provider asked for stays.
        """
        if bucket != self.bucket:
            self.bucket = bucket
            self._turn_at = 0.0
            self._staff()

    def await_turn(self, seconds: float) -> None:
        """Takes nothing on for so long, since nothing may leave before, at the present rate."""
        self._turn_at = time.monotonic() + seconds

    def rest(self, seconds: float) -> None:
        """Takes nothing on for so long; that is all that is wrong."""
        self._resting_until = max(self._resting_until, time.monotonic() + seconds)
        # For whom this is too long.
        self._staff()

    def close(self, seconds: float) -> None:
        """Takes nothing on for so long, since nothing would get through."""
        self.rest(seconds)
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)

    def clear(self) -> list[Unit]:
        """Takes everything out of the line."""
        self._set_alarm(None)
        waiting, self._waiting = self._waiting, []
        return [entry.unit for entry in waiting]

    async def _work(self) -> None:
        try:
            await self._keep_running(self._work_off)
        finally:
            self._busy -= 1

    async def _work_off(self) -> None:
        while self._is_short_of_hands:
            if self.is_resting:
                if not (leaving := self._leave_line()):
                    self._set_alarm(self.rests_for)
                    return
                await self._put_back(self, leaving)
            # After the turn, so that whatever came meanwhile travels in the same request.
            elif await self._ask() and self._waiting and not self.is_resting:
                unit = self._take()
                self._send_away(unit)
                # Those who went home, since one who asks is enough, are needed for what is left.
                self._staff()
                await self._deliver(self, unit)

    def _leave_line(self) -> list[Unit]:
        """Those who do not wait for the end of the rest here."""
        staying = [entry for entry in self._waiting if self.takes(entry.unit)]
        leaving = [entry.unit for entry in self._waiting if not self.takes(entry.unit)]
        heapq.heapify(staying)
        self._waiting = staying
        return leaving

    def _set_alarm(self, seconds: float | None) -> None:
        """When those who have stayed go on."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._staff)

    def _staff(self) -> None:
        if self._busy < self._slots and self._is_short_of_hands:
            self._busy += 1
            self._spawn(self._work())

    @property
    def _is_short_of_hands(self) -> bool:
        """Whether another turn would be of use: one that is taken for nothing is lost to the account."""
        return len(self._waiting) > self._asking * self.batch_max

    async def _ask(self) -> bool:
        self._asking += 1
        try:
            return await self._turn(self)
        finally:
            self._asking -= 1

    def _take(self) -> Unit:
        unit = self._pop()
        if self.batch_max == 1 or not _can_share(unit):
            return unit
        jobs, aside = list(unit.jobs), []
        while self._waiting and len(jobs) < self.batch_max:
            entry = heapq.heappop(self._waiting)
            if _can_share(entry.unit):
                jobs.extend(entry.unit.jobs)
            else:
                aside.append(entry)
        for entry in aside:
            heapq.heappush(self._waiting, entry)
        return Unit(jobs=jobs, batch=BatchId(uuid4()) if len(jobs) > 1 else None)

    def _pop(self) -> Unit:
        entry = heapq.heappop(self._waiting)
        self._tag = max(self._tag, entry.tag)
        if not self._waiting:
            self._tags.clear()
        return entry.unit


def _share(places: int) -> int:
    return max(1, int(places * _SHARE))


def _can_share(unit: Unit) -> bool:
    return unit.batch is None and not any(job.message.goes_alone for job in unit.jobs)
