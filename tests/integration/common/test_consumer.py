from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest
from prometheus_client import REGISTRY

from mailement_common.bus import topology
from mailement_common.bus.consumer import Consumer, Handler
from mailement_common.bus.topology import DRIPS
from mailement_common.events.envelope import Envelope
from mailement_common.settings import BrokerSettings
from tests.integration.common.outbox import until
from tests.support.bus import Bus, Cable, an_event

_DEADLINE_SECONDS = 20


def _number(event: Envelope) -> int:
    number: int = event.data["number"]
    return number


@dataclass(slots=True)
class Handled:
    """Notes the numbers of the events it is given; `before` may fail, or take its time."""

    before: Callable[[list[int]], None] = lambda _: None
    gate: asyncio.Event | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[list[int]] = field(default_factory=list)

    async def __call__(self, events: Sequence[Envelope]) -> None:
        numbers = [_number(event) for event in events]
        self.began.set()
        if self.gate is not None:
            await self.gate.wait()
        self.before(numbers)
        self.batches.append(numbers)

    @property
    def numbers(self) -> list[int]:
        return [number for batch in self.batches for number in batch]

    async def count(self, count: int) -> None:
        async def so_many() -> bool:
            return len(self.numbers) >= count

        await until(so_many, what=f"{count} events are handled")


@asynccontextmanager
async def consuming(
    settings: BrokerSettings, handler: Handler, stop: asyncio.Event | None = None
) -> AsyncIterator[Consumer]:
    stop = stop or asyncio.Event()
    consumer = Consumer(settings, DRIPS, handler, name="test")
    running = asyncio.create_task(consumer.run(stop))
    try:
        yield consumer
    finally:
        stop.set()
        async with asyncio.timeout(_DEADLINE_SECONDS):
            await running


async def test_events_are_handled_in_order_and_in_batches_and_then_gone(bus: Bus) -> None:
    events = [an_event(number) for number in range(250)]
    await bus.publish(*events)
    handled = Handled()

    async with consuming(bus.settings, handled) as consumer:
        await handled.count(250)
        assert consumer.connected

    assert handled.numbers == list(range(250))
    assert len(handled.batches) < 50
    assert await bus.waiting() == 0


async def test_an_event_arrives_with_its_trace(bus: Bus) -> None:
    import aio_pika

    from mailement_common.bus.topology import exchange_name

    event = an_event(traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    async with await aio_pika.connect(bus.settings.amqp_url) as connection:
        exchange = await (await connection.channel()).get_exchange(exchange_name(bus.settings.bus_namespace))
        message = aio_pika.Message(event.body(), headers={"traceparent": event.traceparent})
        await exchange.publish(message, routing_key=event.type)
    arrived: list[Envelope] = []

    async def handle(events: Sequence[Envelope]) -> None:
        arrived.extend(events)

    async def some() -> bool:
        return bool(arrived)

    async with consuming(bus.settings, handle):
        await until(some, what="the event has arrived")

    assert arrived == [event]


async def test_an_event_that_cannot_be_handled_is_set_aside_and_the_others_are_handled(bus: Bus) -> None:
    tries: Counter[int] = Counter()

    def poison(numbers: list[int]) -> None:
        tries.update(numbers)
        if 3 in numbers:
            raise ValueError("three")

    handled = Handled(before=poison)
    await bus.publish(*(an_event(number) for number in range(6)))

    async with consuming(bus.settings, handled):
        (dead,) = await bus.take(1, dead=True)
        await handled.count(5)

    assert _number(Envelope.parse(dead.body)) == 3
    assert sorted(handled.numbers) == [0, 1, 2, 4, 5]
    assert tries[3] >= 3
    assert await bus.waiting() == 0


@pytest.mark.parametrize(
    "body", [b"", b"not JSON", b"[]", an_event().body().replace(b'"id":"', b'"id":7,"was":"')]
)
async def test_what_is_no_event_is_set_aside(bus: Bus, body: bytes) -> None:
    event = an_event(1)
    await bus.publish_raw((event.type, body))
    await bus.publish(event)
    handled = Handled()

    async with consuming(bus.settings, handled):
        await handled.count(1)
        (dead,) = await bus.take(1, dead=True)

    assert dead.body == body
    assert handled.numbers == [1]


async def test_a_database_that_is_away_is_waited_for(bus: Bus) -> None:
    outages = iter([ConnectionRefusedError(), TimeoutError(), None])

    def away(_: list[int]) -> None:
        if outage := next(outages):
            raise outage

    handled = Handled(before=away)
    await bus.publish(an_event(1), an_event(2))

    async with consuming(bus.settings, handled):
        await handled.count(2)

    assert handled.numbers == [1, 2]
    assert await bus.waiting() == 0


@pytest.mark.parametrize(
    "trouble",
    [
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.DiskFullError,
        asyncpg.UndefinedTableError,
        asyncpg.DeadlockDetectedError,
        asyncpg.InvalidPasswordError,
    ],
)
async def test_a_database_that_cannot_is_no_fault_of_the_event(
    bus: Bus, trouble: type[asyncpg.PostgresError]
) -> None:
    troubles = iter([trouble("not now")] * 4 + [None])

    def unable(_: list[int]) -> None:
        if found := next(troubles):
            raise found

    handled = Handled(before=unable)
    await bus.publish(an_event(1))

    async with consuming(bus.settings, handled):
        await handled.count(1)

    assert await bus.waiting() == 0


async def test_a_stop_does_not_wait_for_a_database_that_is_away(bus: Bus) -> None:
    tried = asyncio.Event()

    def away(_: list[int]) -> None:
        tried.set()
        raise ConnectionRefusedError

    await bus.publish(an_event())

    async with consuming(bus.settings, Handled(before=away)):
        await tried.wait()

    assert len(await bus.take(1)) == 1


async def test_a_stop_in_the_middle_of_an_outage_loses_no_event(bus: Bus) -> None:
    stop = asyncio.Event()

    def away_for_the_first(numbers: list[int]) -> None:
        if len(numbers) > 1:
            raise ValueError("one of these")
        if numbers == [1]:
            stop.set()
            raise ConnectionRefusedError

    handled = Handled(before=away_for_the_first)
    await bus.publish(*(an_event(number) for number in (1, 2, 3)))

    async with consuming(bus.settings, handled, stop):
        await stop.wait()

    waiting = {_number(Envelope.parse(message.body)) for message in await bus.take(await bus.waiting())}
    assert waiting | set(handled.numbers) == {1, 2, 3}


async def test_a_stop_finishes_the_batch_at_hand_and_leaves_the_rest(bus: Bus) -> None:
    handled = Handled(gate=asyncio.Event())
    await bus.publish(*(an_event(number) for number in range(250)))

    stop = asyncio.Event()
    async with consuming(bus.settings, handled, stop):
        await handled.began.wait()
        stop.set()
        assert handled.gate is not None
        handled.gate.set()

    assert handled.numbers == list(range(len(handled.numbers)))
    assert 0 < len(handled.numbers) <= 100

    async def returned() -> bool:
        return await bus.waiting() == 250 - len(handled.numbers)

    await until(returned, what="the broker has back what was not handled")


async def test_what_was_not_acknowledged_when_the_connection_broke_comes_again(
    bus: Bus, cable: Cable
) -> None:
    through_cable = bus.settings.model_copy(update={"amqp_url": cable.url(bus.settings.amqp_url)})
    handled = Handled(gate=asyncio.Event())
    await bus.publish(*(an_event(number) for number in range(20)))

    async with consuming(through_cable, handled) as consumer:
        await handled.began.wait()
        await cable.cut()

        async def disconnected() -> bool:
            return not consumer.connected

        await until(disconnected, what="the consumer knows that the broker is gone")
        assert handled.gate is not None
        handled.gate.set()
        await cable.plug_in()
        await bus.publish(an_event(99))

        async def went_on() -> bool:
            return 99 in handled.numbers

        await until(went_on, what="the consumer goes on")

    assert set(handled.numbers) == {*range(20), 99}
    assert max(Counter(handled.numbers).values()) == 2
    assert await bus.waiting() == 0


async def test_a_broker_that_is_down_at_the_start_is_waited_for(bus: Bus, cable: Cable) -> None:
    through_cable = bus.settings.model_copy(update={"amqp_url": cable.url(bus.settings.amqp_url)})
    await cable.cut()
    await bus.publish(an_event(1))
    handled = Handled()

    async with consuming(through_cable, handled) as consumer:
        assert not consumer.connected
        await cable.plug_in()
        await handled.count(1)


async def test_a_queue_that_comes_later_is_waited_for(bus: Bus) -> None:
    await topology.remove(bus.settings)
    handled = Handled()

    async with consuming(bus.settings, handled) as consumer:
        assert not consumer.connected
        await topology.declare(bus.settings)
        await bus.publish(an_event(1))
        await handled.count(1)


async def test_a_queue_that_was_deleted_and_made_again_is_consumed_again(bus: Bus) -> None:
    handled = Handled()

    async with consuming(bus.settings, handled) as consumer:
        await bus.publish(an_event(1))
        await handled.count(1)
        await bus.delete(DRIPS)

        async def noticed() -> bool:
            return not consumer.connected

        await until(noticed, what="the consumer knows that its queue is gone")
        await topology.declare(bus.settings)
        await bus.publish(an_event(2))
        await handled.count(2)


async def test_consumers_side_by_side_share_the_events(bus: Bus) -> None:
    one, other = Handled(), Handled()

    async with consuming(bus.settings, one), consuming(bus.settings, other):

        async def both_there() -> bool:
            return await bus.consumers(DRIPS) == 2

        await until(both_there, what="both consume")
        await bus.publish(*(an_event(number) for number in range(300)))

        async def all_handled() -> bool:
            return len(one.numbers) + len(other.numbers) >= 300

        await until(all_handled, what="everything is handled")

    assert sorted(one.numbers + other.numbers) == list(range(300))


async def test_a_gauge_tells_whether_the_broker_hands_events_over(bus: Bus) -> None:
    def told() -> float | None:
        return REGISTRY.get_sample_value("mailement_bus_consuming", {"queue": DRIPS.name})

    async def tells_so() -> bool:
        return told() == 1

    async with consuming(bus.settings, Handled()):
        await until(tells_so, what="the gauge is 1")

    assert told() == 0
