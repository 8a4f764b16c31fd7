from __future__ import annotations

import asyncio
import time
from uuid import UUID

import asyncpg

from mailement_common.bus import topology
from mailement_common.bus.topology import DRIPS, MAILER, WEBHOOKS
from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.settings import BrokerSettings
from tests.integration.common.outbox import left, relaying, until, until_empty, write
from tests.support.bus import Bus, Cable, an_event
from tests.support.database import Database

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def _logged(pool: asyncpg.Pool) -> list[UUID]:
    rows = await pool.fetch("SELECT event_id FROM event_log ORDER BY published_at")
    return [row["event_id"] for row in rows]


async def test_events_arrive_as_they_were_written_in_order(database: Database, bus: Bus) -> None:
    events = [an_event(number, traceparent=TRACE if number % 2 else None) for number in range(450)]
    await write(database.pool, events)

    async with relaying(database.pool, bus.settings):
        arrived = await bus.take(450)

    assert [Envelope.parse(message.body) for message in arrived] == [an_envelope(event) for event in events]
    for event, message in zip(events, arrived, strict=True):
        assert message.message_id == str(event.id)
        assert message.headers["event_id"] == str(event.id)
        assert message.headers["event_type"] == message.type == message.routing_key == event.type
        assert message.headers.get("traceparent") == event.traceparent
        assert message.content_type == "application/json"
        assert message.delivery_mode == 2
    assert await left(database.pool) == 0
    assert set(await _logged(database.pool)) == {event.id for event in events}


def an_envelope(event: Envelope) -> Envelope:
    """The event as its body alone tells it: the trace travels in a header."""
    return Envelope.parse(event.body())


async def test_an_event_reaches_every_queue_that_hears_it(database: Database, bus: Bus) -> None:
    await write(database.pool, [an_event(1), an_event(2, EventType.MESSAGE_QUEUED)])

    async with relaying(database.pool, bus.settings):
        for queue, number in ((DRIPS, 1), (WEBHOOKS, 1), (MAILER, 2)):
            (message,) = await bus.take(1, queue)
            assert Envelope.parse(message.body).data == {"number": number}


async def test_a_full_queue_holds_events_back_and_their_copies_are_alike(
    database: Database, bus: Bus
) -> None:
    event = an_event(traceparent=TRACE)
    await bus.make_full(WEBHOOKS)
    await write(database.pool, [event])

    async with relaying(database.pool, bus.settings):
        copies = await bus.take(2, DRIPS)  # this one has room, and gets a copy with each try
        assert await left(database.pool) == 1
        await bus.take(1, WEBHOOKS)
        await until_empty(database.pool)
        copies += await bus.take(1, DRIPS)
        (delivered,) = await bus.take(1, WEBHOOKS)

    assert {copy.body for copy in copies} == {delivered.body}
    assert {copy.message_id for copy in copies} == {str(event.id)}
    assert await database.pool.fetchval("SELECT count(*) FROM outbox_dead") == 0
    assert await _logged(database.pool) == [event.id]


async def test_nothing_is_lost_when_the_connection_breaks(database: Database, bus: Bus, cable: Cable) -> None:
    events = [an_event(number) for number in range(900)]
    await write(database.pool, events)
    through_cable = bus.settings.model_copy(update={"amqp_url": cable.url(bus.settings.amqp_url)})

    async def under_way() -> bool:
        return await left(database.pool) < 900

    async with relaying(database.pool, through_cable):
        await until(under_way, what="the relay has begun")
        await cable.cut()
        assert await left(database.pool) > 0
        await cable.plug_in()
        await until_empty(database.pool)

    arrived = await bus.take(await bus.waiting(DRIPS))
    assert {message.message_id for message in arrived} == {str(event.id) for event in events}


async def test_an_event_that_nobody_hears_steps_aside(database: Database, bus: Bus) -> None:
    unheard = an_event(0, "nobody.hears", TRACE)
    heard = [an_event(number) for number in range(1, 6)]
    await write(database.pool, [*heard[:2], unheard, *heard[2:]])

    async with relaying(database.pool, bus.settings):
        await until_empty(database.pool)

    dead = await database.pool.fetch("SELECT event_id, type, data, traceparent, error FROM outbox_dead")
    assert [tuple(row)[:4] for row in dead] == [(unheard.id, "nobody.hears", {"number": 0}, TRACE)]
    assert "nobody.hears" in dead[0]["error"]
    arrived = await bus.take(await bus.waiting(DRIPS))
    assert {message.message_id for message in arrived} == {str(event.id) for event in heard}


async def test_relays_side_by_side_publish_each_event_once(database: Database, bus: Bus) -> None:
    events = [an_event(number) for number in range(500)]
    await write(database.pool, events)

    async with relaying(database.pool, bus.settings), relaying(database.pool, bus.settings):
        await until_empty(database.pool)

    arrived = await bus.take(await bus.waiting(DRIPS))
    assert sorted(str(message.message_id) for message in arrived) == sorted(str(event.id) for event in events)


async def test_a_relay_that_is_woken_does_not_wait_for_its_sweep(database: Database, bus: Bus) -> None:
    async with relaying(database.pool, bus.settings) as relay:
        await write(database.pool, [an_event()])
        await until_empty(database.pool)
        began = time.monotonic()
        for _ in range(5):
            await write(database.pool, [an_event()])
            relay.wake()
            await until_empty(database.pool)

        assert time.monotonic() - began < 3.5  # five sweeps would be five seconds


async def test_what_nobody_announced_is_found_by_the_sweep(database: Database, bus: Bus) -> None:
    async with relaying(database.pool, bus.settings):
        await until_connected_and_idle(database, bus)
        await write(database.pool, [an_event()])
        await bus.take(1)


async def until_connected_and_idle(database: Database, bus: Bus) -> None:
    await write(database.pool, [an_event()])
    await bus.take(1)


async def test_a_broker_that_is_down_is_waited_for(database: Database, bus: Bus, cable: Cable) -> None:
    through_cable = bus.settings.model_copy(update={"amqp_url": cable.url(bus.settings.amqp_url)})
    await cable.cut()
    await write(database.pool, [an_event()])

    async with relaying(database.pool, through_cable) as relay:

        async def connected() -> bool:
            return relay.connected

        async def disconnected() -> bool:
            return not relay.connected

        assert await disconnected()
        await cable.plug_in()
        await bus.take(1)
        assert await connected()
        await cable.cut()
        await until(disconnected, what="the relay knows that the broker is gone")


async def test_a_bus_that_is_not_declared_is_waited_for(database: Database, bus: Bus) -> None:
    await topology.remove(bus.settings)
    await write(database.pool, [an_event()])

    async with relaying(database.pool, bus.settings) as relay:
        for _ in range(25):
            await asyncio.sleep(0.02)
            assert not relay.connected
        assert await left(database.pool) == 1
        await topology.declare(bus.settings)
        await bus.take(1)


async def test_connections_to_the_database_may_break(database: Database, bus: Bus) -> None:
    async with relaying(database.pool, bus.settings):
        await until_connected_and_idle(database, bus)
        server = await asyncpg.connect(database.url)
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await server.close()

        await write_at_last(database, an_event(7))
        (message,) = await bus.take(1)

    assert Envelope.parse(message.body).data == {"number": 7}


async def write_at_last(database: Database, event: Envelope) -> None:
    """The pool of the test has lost its connections as well."""
    while True:
        try:
            await write(database.pool, [event])
        except DATABASE_UNABLE:
            continue
        return


async def test_the_last_events_go_out_before_it_stops(database: Database, bus: Bus) -> None:
    async with relaying(database.pool, bus.settings):
        await until_connected_and_idle(database, bus)
        await write(database.pool, [an_event(number) for number in range(250)])

    assert await left(database.pool) == 0
    assert await bus.waiting(DRIPS) == 250


async def test_stopping_does_not_wait_for_a_broker_that_is_away(database: Database) -> None:
    nowhere = BrokerSettings(amqp_url="amqp://127.0.0.1:9/")
    began = time.monotonic()

    async with relaying(database.pool, nowhere) as relay:
        await asyncio.sleep(0)
        assert not relay.connected

    assert time.monotonic() - began < 5


async def test_how_long_the_oldest_event_waits_is_known_while_the_broker_is_down(
    database: Database, bus: Bus, cable: Cable
) -> None:
    through_cable = bus.settings.model_copy(update={"amqp_url": cable.url(bus.settings.amqp_url)})
    await cable.cut()
    await write(database.pool, [an_event()])
    await database.pool.execute("UPDATE outbox SET occurred_at = now() - interval '1 hour'")

    async with relaying(database.pool, through_cable) as relay:

        async def known() -> bool:
            return relay.oldest_seconds >= 3600

        await until(known, what="the age is known")
