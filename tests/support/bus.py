"""A bus of a test's own: a namespace on the broker under test, declared before and removed after."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from mailement_common.bus import topology
from mailement_common.bus.topology import DRIPS, MAILER, WEBHOOKS, QueueSpec, exchange_name, queue_name
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import BrandId, EventId
from mailement_common.settings import BrokerSettings

NOON = datetime(2026, 5, 19, 12, tzinfo=UTC)
_DEADLINE_SECONDS = 20


def an_event(
    number: int = 1, event_type: str = EventType.SUBSCRIBER_CONFIRMED, traceparent: str | None = None
) -> Envelope:
    """An event that can be told by its number."""
    return Envelope(
        id=EventId(uuid4()),
        type=event_type,
        brand_id=BrandId(1),
        occurred_at=NOON,
        data={"number": number},
        traceparent=traceparent,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """`settings` name the broker and this test's namespace."""

    settings: BrokerSettings

    async def publish(self, *events: Envelope) -> None:
        await self.publish_raw(*((event.type, event.body()) for event in events))

    async def publish_raw(self, *messages: tuple[str, bytes]) -> None:
        """Routing keys and bodies, as any program could publish them."""
        async with await aio_pika.connect(self.settings.amqp_url) as connection:
            channel = await connection.channel(on_return_raises=True)
            exchange = await channel.get_exchange(exchange_name(self.settings.bus_namespace))
            for routing_key, body in messages:
                message = aio_pika.Message(body, delivery_mode=2, message_id=str(uuid4()))
                await exchange.publish(message, routing_key=routing_key)

    async def take(
        self, count: int, queue: QueueSpec = DRIPS, *, dead: bool = False
    ) -> list[AbstractIncomingMessage]:
        """Waits for so many messages and takes them off the queue, or off its dead letters."""
        name = queue_name(self.settings.bus_namespace, queue) + (".dead" if dead else "")
        taken: list[AbstractIncomingMessage] = []
        async with (
            asyncio.timeout(_DEADLINE_SECONDS),
            await aio_pika.connect(self.settings.amqp_url) as connection,
        ):
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=min(count, 65_535))
            source = await channel.get_queue(name)
            arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            tag = await source.consume(arrived.put)
            while len(taken) < count:
                taken.append(await arrived.get())
            await source.cancel(tag)
            if taken:
                await taken[-1].ack(multiple=True)
        return taken

    async def waiting(self, queue: QueueSpec = DRIPS) -> int:
        """How many messages nobody has been given yet."""
        return (await self._look(queue)).message_count or 0

    async def consumers(self, queue: QueueSpec) -> int:
        return (await self._look(queue)).consumer_count or 0

    async def delete(self, queue: QueueSpec) -> None:
        async with await aio_pika.connect(self.settings.amqp_url) as connection:
            await (await connection.channel()).queue_delete(queue_name(self.settings.bus_namespace, queue))

    async def make_full(self, queue: QueueSpec) -> None:
        """Puts a queue in its place that takes one message and refuses the next."""
        await self.delete(queue)
        async with await aio_pika.connect(self.settings.amqp_url) as connection:
            channel = await connection.channel()
            full = await channel.declare_queue(
                queue_name(self.settings.bus_namespace, queue),
                durable=True,
                arguments={"x-max-length": 1, "x-overflow": "reject-publish"},
            )
            for routing_key in queue.hears:
                await full.bind(exchange_name(self.settings.bus_namespace), routing_key=routing_key)
            await channel.default_exchange.publish(aio_pika.Message(b"{}"), routing_key=full.name)

    async def _look(self, queue: QueueSpec) -> Any:
        async with await aio_pika.connect(self.settings.amqp_url) as connection:
            channel = await connection.channel()
            name = queue_name(self.settings.bus_namespace, queue)
            return (await channel.declare_queue(name, passive=True)).declaration_result


@dataclass(slots=True)
class Cable:
    """A way to the broker that can be cut: everything that goes through it is dropped at once."""

    host: str
    port: int
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _listening_port: int = 0

    async def plug_in(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._listening_port)
        self._listening_port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    def url(self, behind: str) -> str:
        """The URL `behind`, led through here."""
        return behind.replace(f"{self.host}:{self.port}", f"127.0.0.1:{self._listening_port}")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer), return_exceptions=True)
        self._open -= {writer, far_writer}


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        writer.transport.abort()
    finally:
        writer.close()


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    settings = BrokerSettings(
        amqp_url=os.environ["MAILEMENT_TEST_AMQP_URL"],  # noqa: TID251
        bus_namespace=f"test-{uuid4().hex[:16]}",
    )
    await topology.declare(settings)
    try:
        yield Bus(settings=settings)
    finally:
        await topology.remove(settings)


@pytest.fixture
async def cable(bus: Bus) -> AsyncIterator[Cable]:
    """Plugged in; `Bus` itself goes another way."""
    address = bus.settings.amqp_url.rpartition("@")[2].partition("/")[0]
    host, _, port = address.partition(":")
    wire = Cable(host=host, port=int(port))
    await wire.plug_in()
    try:
        yield wire
    finally:
        await wire.cut()


__all__ = ["DRIPS", "MAILER", "WEBHOOKS", "Bus", "Cable", "an_event", "bus", "cable"]
