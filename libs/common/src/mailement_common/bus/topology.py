"""The exchange, the queues and what each queue hears. Declared by `mailement migrate`, not by services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError

from mailement_common.bus.connection import BrokerRefused, connect_once
from mailement_common.settings import BrokerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """One queue per consuming service and purpose; `name` stands behind the namespace."""

    name: str
    hears: tuple[str, ...]


DRIPS: Final = QueueSpec(name="drips", hears=("subscriber.*", "event.*", "drip.*"))
WEBHOOKS: Final = QueueSpec(
    name="webhooks", hears=("subscriber.*", "drip.webhook", "endpoint.*", "delivery.*")
)
MAILER: Final = QueueSpec(name="mailer", hears=("message.*",))
QUEUES: Final = (DRIPS, WEBHOOKS, MAILER)

# A crashed consumer counts as a delivery of all that it had prefetched, so the limit must be far above
# any number of crashes; RabbitMQ 4 would take 20 if we said nothing.
_DELIVERY_LIMIT: Final = 1000


def exchange_name(namespace: str) -> str:
    return f"{namespace}.events"


def queue_name(namespace: str, queue: QueueSpec) -> str:
    return f"{namespace}.{queue.name}"


async def declare(settings: BrokerSettings) -> None:
    """Makes the topology; harmless when it is there. Works on RabbitMQ 3.10 and 4 without plugins.

    Raises BrokerUnreachable; BrokerRefused if something of the same name stands there with other arguments.
    """
    connection = await connect_once(settings)
    async with connection:
        channel = await connection.channel()
        try:
            await _declare(channel, settings.bus_namespace)
        except AMQPError as error:
            raise BrokerRefused(f"{type(error).__name__}: {error}") from error


async def remove(settings: BrokerSettings) -> None:
    """Takes the namespace's exchange and queues away, with all that is in them."""
    connection = await connect_once(settings)
    namespace = settings.bus_namespace
    async with connection:
        channel = await connection.channel()
        for queue in QUEUES:
            await channel.queue_delete(queue_name(namespace, queue))
            await channel.queue_delete(_dead_queue_name(namespace, queue))
        await channel.exchange_delete(exchange_name(namespace))
        await channel.exchange_delete(_dead_exchange_name(namespace))


async def _declare(channel: AbstractChannel, namespace: str) -> None:
    events = await channel.declare_exchange(
        exchange_name(namespace), aio_pika.ExchangeType.TOPIC, durable=True, timeout=10
    )
    dead = await channel.declare_exchange(
        _dead_exchange_name(namespace), aio_pika.ExchangeType.DIRECT, durable=True, timeout=10
    )
    for spec in QUEUES:
        name = queue_name(namespace, spec)
        dead_queue = await channel.declare_queue(
            _dead_queue_name(namespace, spec), durable=True, arguments={"x-queue-type": "quorum"}, timeout=20
        )
        await dead_queue.bind(dead, routing_key=name, timeout=10)
        queue = await channel.declare_queue(
            name,
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": _DELIVERY_LIMIT,
                "x-overflow": "reject-publish",
                "x-dead-letter-strategy": "at-least-once",
                "x-dead-letter-exchange": _dead_exchange_name(namespace),
                "x-dead-letter-routing-key": name,
            },
            timeout=20,
        )
        for routing_key in spec.hears:
            await queue.bind(events, routing_key=routing_key, timeout=10)


def _dead_exchange_name(namespace: str) -> str:
    return f"{namespace}.dead"


def _dead_queue_name(namespace: str, queue: QueueSpec) -> str:
    return f"{queue_name(namespace, queue)}.dead"
