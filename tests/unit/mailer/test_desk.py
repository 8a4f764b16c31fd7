"""One account's line: the urgent first, brands in turn, full batches, and places kept for whoever comes later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from mailement_common.ids import BrandId
from mailement_common.supervise import keep_running
from mailement_mailer.desk import Desk, Job, Unit
from mailement_mailer.mailbox import Mailbox
from mailement_mailer.routes import Route
from mailement_newsletter.ids import BatchId, MessageId
from mailement_newsletter.queries.messages import Claimed
from mailement_newsletter.rules.pacing import Bucket
from tests.support.mails import a_brand, a_claimed, a_mail


@dataclass(slots=True)
class Stage:
    """A desk whose units are noted, one after another, once the gate is open."""

    concurrency: int = 1
    batch_max: int = 1
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    units: list[Unit] = field(default_factory=list)
    freed: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    put_back: list[Unit] = field(default_factory=list)
    on_the_wire: asyncio.Event | None = None
    numbers: int = 0
    turns: int = 0

    def desk(self) -> Desk:
        return Desk(
            key="account:default",
            account=None,
            concurrency=self.concurrency,
            batch_max=self.batch_max,
            spawn=self._spawn,
            turn=self._turn,
            deliver=self._deliver,
            put_back=self._put_back,
            keep_running=lambda loop: keep_running("desk", loop, asyncio.Event()),
            freed=self._freed,
        )

    def job(self, brand: int = 1, *, priority: int = 1, **changes: Any) -> Job:
        self.numbers += 1
        message = a_claimed(
            id=MessageId(self.numbers), brand=a_brand(id=BrandId(brand)), priority=priority, **changes
        )
        return Job(message=message, mail=a_mail(), route=a_route(brand))

    async def sent(self) -> list[list[int]]:
        """The brands of each unit, once all are through."""
        self.gate.set()
        await asyncio.gather(*self.tasks)
        return [[job.message.brand.id for job in unit.jobs] for unit in self.units]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def _turn(self, _: Desk) -> bool:
        await self.gate.wait()
        self.turns += 1
        await asyncio.sleep(0)
        if self.faults:
            raise self.faults.pop()
        return True

    async def _deliver(self, _: Desk, unit: Unit) -> None:
        self.units.append(unit)
        if self.on_the_wire is not None:
            await self.on_the_wire.wait()

    async def _put_back(self, _: Desk, units: Sequence[Unit]) -> None:
        self.put_back.extend(units)

    def _freed(self) -> None:
        self.freed += 1


def a_route(brand: int) -> Route:
    return Route(
        brand_id=BrandId(brand),
        sender_id=None,
        mailbox=Mailbox(name="A", address="a@b.example"),
        reply_to=None,
        account=None,
        account_key="account:default",
        bucket=None,
        days=(),
        dkim=None,
    )


async def test_brands_take_turns_however_many_mails_one_has() -> None:
    stage = Stage()
    desk = stage.desk()
    for _ in range(5):
        desk.push(Unit(jobs=[stage.job(1)]))
    desk.push(Unit(jobs=[stage.job(2)]))
    assert await stage.sent() == [[1], [2], [1], [1], [1], [1]]


async def test_a_brand_that_comes_later_does_not_wait_for_what_was_there_before() -> None:
    stage = Stage()
    desk = stage.desk()
    for brand in (1, 1, 1, 2, 2):
        desk.push(Unit(jobs=[stage.job(brand)]))
    assert await stage.sent() == [[1], [2], [1], [2], [1]]


async def test_the_urgent_go_first() -> None:
    stage = Stage()
    desk = stage.desk()
    for priority in (1, 1, 0):
        desk.push(Unit(jobs=[stage.job(1, priority=priority)]))
    await stage.sent()
    assert [unit.jobs[0].message.priority for unit in stage.units] == [0, 1, 1]


async def test_what_waits_fills_a_batch() -> None:
    stage = Stage(batch_max=3)
    desk = stage.desk()
    for _ in range(7):
        desk.push(Unit(jobs=[stage.job()]))
    assert [len(unit) for unit in await stage.sent()] == [3, 3, 1]
    batches = [unit.batch for unit in stage.units]
    assert (len({*batches}), batches[2]) == (3, None), "a single mail is no batch"


async def test_a_mail_that_has_gone_out_before_travels_as_it_did() -> None:
    stage = Stage(batch_max=10)
    desk = stage.desk()
    again = Unit(jobs=[stage.job(), stage.job()], batch=BatchId(uuid4()), is_frozen=True)
    alone = Unit(jobs=[stage.job(payload={"subject": "x"})])
    tried = Unit(jobs=[stage.job(tries=1)])
    for unit in (Unit(jobs=[stage.job()]), again, alone, tried, Unit(jobs=[stage.job()])):
        desk.push(unit)
    await stage.sent()
    assert sorted(len(unit.jobs) for unit in stage.units) == [1, 1, 2, 2]
    assert again in stage.units


async def test_the_last_places_are_kept_for_other_brands() -> None:
    stage = Stage(concurrency=4)
    desk = stage.desk()
    mails = [stage.job(1).message for _ in range(12)]
    desk.take_in_hand(mails)
    assert (desk.room, desk.room_for(BrandId(1)), desk.room_for(BrandId(2))) == (4, 0, 12)
    desk.let_go(mails[:5])
    assert (desk.room, desk.room_for(BrandId(1)), stage.freed) == (9, 5, 1)


async def test_a_mail_that_is_in_hand_twice_is_let_go_twice() -> None:
    """Its first claim has ended, and still stands in line."""
    stage = Stage(concurrency=4)
    desk = stage.desk()
    stale = stage.job().message
    fresh = replace(stale, lease_token=uuid4())
    desk.take_in_hand([stale])
    desk.take_in_hand([fresh])
    assert (desk.room, desk.room_for(BrandId(1))) == (14, 10)
    desk.let_go([stale])
    assert (list(desk.in_hand), desk.room_for(BrandId(1))) == ([fresh], 11)
    desk.let_go([fresh])
    assert (desk.room, desk.room_for(BrandId(1))) == (16, 12)


async def test_what_is_let_go_once_more_makes_no_room_for_others() -> None:
    stage = Stage(concurrency=4)
    desk = stage.desk()
    first, second = stage.job().message, stage.job().message
    desk.take_in_hand([first, second])
    desk.let_go([first])
    desk.let_go([first])
    assert (list(desk.in_hand), desk.room_for(BrandId(1))) == ([second], 11)


async def test_a_desk_that_rests_takes_nothing_on() -> None:
    stage = Stage()
    desk = stage.desk()
    desk.push(Unit(jobs=[stage.job()]))
    desk.rest(60)
    assert (desk.room, desk.is_resting, desk.closed_for > 0) == (0, True, False)
    assert await stage.sent() == []
    assert len(stage.put_back) == 1, "what waited is for others"


async def test_what_has_gone_out_before_waits_for_the_end_of_a_rest_and_has_the_next_turn() -> None:
    stage = Stage()
    desk = stage.desk()
    fresh, again = stage.job(), stage.job()
    desk.take_in_hand([fresh.message, again.message])
    desk.await_turn(0.1)
    desk.push(Unit(jobs=[fresh]))
    desk.push(Unit(jobs=[again], is_frozen=True))
    stage.gate.set()
    async with asyncio.timeout(5):
        while not stage.units:
            await asyncio.sleep(0.01)
    assert not desk.is_resting
    assert [unit.jobs[0] for unit in stage.units] == [again]
    assert [unit.jobs[0] for unit in stage.put_back] == [fresh]


@pytest.mark.parametrize("worsens", [lambda desk: desk.rest(3600), lambda desk: desk.close(60)])
async def test_nobody_waits_at_the_desk_for_the_end_of_a_long_rest_or_of_a_closed_account(
    worsens: Callable[[Desk], None],
) -> None:
    stage = Stage()
    desk = stage.desk()
    again = Unit(jobs=[stage.job()], is_frozen=True)
    desk.await_turn(60)
    desk.push(again)
    await stage.sent()
    assert (stage.put_back, desk.room_again > 0) == ([], True)

    worsens(desk)
    await stage.sent()
    assert (stage.put_back, desk.room_again, desk.takes(again)) == ([again], 0, False)


async def test_no_turn_is_taken_for_nothing() -> None:
    stage = Stage(concurrency=3)
    desk = stage.desk()
    for _ in range(5):
        desk.push(Unit(jobs=[stage.job()]))
    assert len(await stage.sent()) == 5
    assert stage.turns == 5


@pytest.mark.parametrize(("seconds", "room", "of_a_brand"), [(0.01, 16, 12), (2, 2, 1), (600, 1, 1)])
async def test_the_slower_the_pace_the_fewer_mails_are_claimed(
    seconds: float, room: int, of_a_brand: int
) -> None:
    desk = Stage(concurrency=4).desk()
    desk.keep_to(Bucket(key=desk.key, interval=timedelta(seconds=seconds)))
    assert (desk.room, desk.room_for(BrandId(1))) == (room, of_a_brand)


async def test_where_the_provider_had_to_ask_for_less_fewer_mails_are_claimed() -> None:
    desk = Stage(concurrency=4).desk()
    desk.keep_to(Bucket(key=desk.key, interval=timedelta(seconds=1), share=0.5))
    assert desk.room == 2


async def test_a_relay_that_takes_long_does_not_lessen_what_is_claimed_at_a_slow_pace() -> None:
    """Two mails may wait, and four are on the wire; it is the capacity, 16, that bounds all of them."""
    stage = Stage(concurrency=4, on_the_wire=asyncio.Event())
    desk = stage.desk()
    desk.keep_to(Bucket(key=desk.key, interval=timedelta(seconds=2)))
    await away(stage, desk, mails=4)
    assert (desk.room, desk.room_for(BrandId(1)), desk.room_for(BrandId(2))) == (2, 1, 1)
    assert stage.freed > 0, "whoever claims hears of it"

    desk.take_in_hand([stage.job().message for _ in range(2)])
    assert (desk.room, desk.room_for(BrandId(1))) == (0, 0)
    await let_in(stage)


async def test_mails_on_the_wire_are_in_hand_and_bounded() -> None:
    stage = Stage(concurrency=4, on_the_wire=asyncio.Event())
    desk = stage.desk()
    desk.keep_to(Bucket(key=desk.key, interval=timedelta(seconds=0.35)))
    await away(stage, desk, mails=4)
    desk.take_in_hand([stage.job(2).message for _ in range(11)])
    assert (desk.room, len(list(desk.in_hand))) == (1, 15), "fourteen may wait, sixteen be in hand"
    await let_in(stage)


async def test_places_are_free_again_when_a_mail_is_done_with() -> None:
    stage = Stage(concurrency=4, on_the_wire=asyncio.Event())
    desk = stage.desk()
    messages = await away(stage, desk, mails=4)
    assert desk.room == 12
    desk.let_go(messages)
    assert (desk.room, desk.room_for(BrandId(1)), list(desk.in_hand)) == (16, 12, [])
    await let_in(stage)


async def away(stage: Stage, desk: Desk, *, mails: int) -> list[Claimed]:
    """So many mails of one brand on the wire."""
    jobs = [stage.job() for _ in range(mails)]
    desk.take_in_hand(job.message for job in jobs)
    stage.gate.set()
    for job in jobs:
        desk.push(Unit(jobs=[job]))
    async with asyncio.timeout(5):
        while len(stage.units) < mails:
            await asyncio.sleep(0)
    return [job.message for job in jobs]


async def let_in(stage: Stage) -> None:
    assert stage.on_the_wire is not None
    stage.on_the_wire.set()
    await stage.sent()


async def test_at_another_pace_the_next_turn_is_asked_about_at_once() -> None:
    desk = Stage().desk()
    desk.keep_to(Bucket(key=desk.key, interval=timedelta(seconds=60)))
    desk.await_turn(60)
    assert desk.is_resting
    desk.keep_to(Bucket(key=desk.key, interval=timedelta(seconds=1)))
    assert not desk.is_resting


@pytest.mark.parametrize("bucket", [None, Bucket(key="account:default", burst=1_000_000)])
async def test_no_other_pace_ends_a_silence_that_the_provider_asked_for(bucket: Bucket | None) -> None:
    desk = Stage().desk()
    desk.rest(60)
    desk.keep_to(Bucket(key=desk.key, interval=timedelta(seconds=1)))
    desk.keep_to(bucket)
    assert desk.is_resting


async def test_a_fault_of_the_database_leaves_nothing_standing_at_the_desk() -> None:
    """All workers ask for a turn while it is away; nobody pushes anything afterwards."""
    stage = Stage(concurrency=2, faults=[ConnectionResetError(), asyncpg.AdminShutdownError("bye")])
    desk = stage.desk()
    for _ in range(5):
        desk.push(Unit(jobs=[stage.job()]))
    assert len(await stage.sent()) == 5
