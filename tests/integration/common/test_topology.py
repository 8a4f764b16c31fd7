from __future__ import annotations

from dataclasses import replace

import aio_pika
import pytest

from mailement_common.bus import topology
from mailement_common.bus.connection import BrokerRefused, BrokerUnreachable
from mailement_common.bus.topology import DRIPS, QUEUES, queue_name
from mailement_common.events.types import EventType
from mailement_common.settings import BrokerSettings
from tests.support.bus import Bus


async def test_it_can_be_declared_again_with_events_in_it(bus: Bus) -> None:
    await bus.publish_raw((EventType.SUBSCRIBER_CONFIRMED, b"{}"))

    await topology.declare(bus.settings)

    assert await bus.waiting(DRIPS) == 1


@pytest.mark.parametrize("event_type", EventType)
async def test_every_type_of_event_is_heard_by_some_queue(bus: Bus, event_type: EventType) -> None:
    await bus.publish_raw((event_type, b"{}"))  # raises for what nobody hears

    assert sum([await bus.waiting(queue) for queue in QUEUES]) >= 1


async def test_a_queue_of_the_same_name_with_other_arguments_is_told(bus: Bus) -> None:
    await bus.delete(DRIPS)
    async with await aio_pika.connect(bus.settings.amqp_url) as connection:
        name = queue_name(bus.settings.bus_namespace, DRIPS)
        await (await connection.channel()).declare_queue(name, durable=True)

    with pytest.raises(BrokerRefused, match=r"PRECONDITION_FAILED|inequivalent"):
        await topology.declare(bus.settings)


async def test_a_broker_that_is_away_is_told() -> None:
    with pytest.raises(BrokerUnreachable):
        await topology.declare(BrokerSettings(amqp_url="amqp://127.0.0.1:9/"))


async def test_what_is_removed_is_gone(bus: Bus) -> None:
    await topology.remove(bus.settings)

    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await bus.waiting(DRIPS)


def test_names_begin_with_the_namespace() -> None:
    assert {queue_name("letters", queue) for queue in QUEUES} == {
        "letters.drips",
        "letters.mailer",
        "letters.webhooks",
    }
    assert queue_name("letters", replace(DRIPS, name="x")) == "letters.x"
