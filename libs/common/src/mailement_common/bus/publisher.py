"""Publishing with confirms: returns only when the broker has taken every event."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import aio_pika
from aio_pika.abc import AbstractExchange, AbstractRobustConnection
from aio_pika.exceptions import AMQPError, DeliveryError, PublishError

from mailement_common.bus.connection import connect_patiently
from mailement_common.bus.topology import exchange_name
from mailement_common.events.envelope import Envelope
from mailement_common.settings import BrokerSettings

# Below the time in which a frozen broker is noticed, so that a publish fails with a plain timeout.
_PUBLISH_SECONDS: Final = 5


class NotPublished(Exception):
    """The broker did not confirm; the event may or may not have arrived."""


class Unroutable(Exception):
    """No queue hears this event: however often it is tried, the broker returns it."""


class Publisher:
    """One connection and channel for publishing only: a blocked publisher must not stop the consumers."""

    def __init__(self, settings: BrokerSettings, *, name: str) -> None:
        self._settings = settings
        self._name = name
        self._connection: AbstractRobustConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def connect(self, stop: asyncio.Event) -> None:
        """Waits for the broker. Raises NotPublished when the exchange is not there (run `mailement migrate`)."""
        await self.close()
        self._connection = await connect_patiently(self._settings, name=f"{self._name} publisher", stop=stop)
        if self._connection is None:
            return
        try:
            channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            self._exchange = await channel.get_exchange(
                exchange_name(self._settings.bus_namespace), ensure=True
            )
        except (AMQPError, OSError, TimeoutError) as error:
            raise NotPublished(f"{type(error).__name__}: {error}") from error

    @property
    def connected(self) -> bool:
        """Whether events can be published: the broker is there, and so is the exchange."""
        return (
            self._exchange is not None
            and self._connection is not None
            and self._connection.connected.is_set()
        )

    async def publish(self, events: Sequence[Envelope]) -> None:
        """Publishes all, pipelined, and waits for every confirm.

        Raises Unroutable if one of them is heard by nobody; NotPublished if the broker could not be asked,
        or would not take one now, as when a queue is full.
        """
        async with asyncio.TaskGroup() as group:
            results = [group.create_task(self._publish_one(event)) for event in events]
        faults = [fault for task in results if (fault := task.result()) is not None]
        for fault in faults:
            if isinstance(fault, NotPublished):
                raise fault
        if faults:
            raise faults[0]

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection, self._exchange = self._connection, None, None
            await connection.close()

    async def _publish_one(self, event: Envelope) -> NotPublished | Unroutable | None:
        if self._exchange is None:
            return NotPublished("not connected")
        try:
            await self._exchange.publish(
                _message(event), routing_key=event.type, mandatory=True, timeout=_PUBLISH_SECONDS
            )
        except PublishError as error:
            return Unroutable(f"{event.type}: {error}")
        except DeliveryError as error:
            return NotPublished(f"{event.type} was refused: {error}")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return NotPublished("the library cancelled the publish")
        except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
            return NotPublished(f"{type(error).__name__}: {error}")
        return None


def _message(event: Envelope) -> aio_pika.Message:
    headers = {"event_id": str(event.id), "event_type": event.type}
    if event.traceparent is not None:
        headers["traceparent"] = event.traceparent
    return aio_pika.Message(
        event.body(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=str(event.id),
        type=event.type,
        timestamp=event.occurred_at,
        headers=dict(headers),
    )
