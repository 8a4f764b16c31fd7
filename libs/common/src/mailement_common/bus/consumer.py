"""Consuming: events in batches, handled in one transaction, acknowledged only after its commit.

The library's callback does nothing but put the message into a queue of ours: its tasks are cancelled when the
connection breaks, and a transaction must not be cut by that. Whatever is not acknowledged comes again; handlers
are idempotent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel, AbstractRobustConnection
from aio_pika.exceptions import AMQPError
from aiormq import Channel

from mailement_common.bus.connection import connect_patiently
from mailement_common.bus.topology import QueueSpec, queue_name
from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.events.envelope import Envelope, NotAnEnvelope
from mailement_common.logs import logger
from mailement_common.metrics import CONSUMING
from mailement_common.settings import BrokerSettings
from mailement_common.supervise import keep_running, pauses, wait_for

Handler = Callable[[Sequence[Envelope]], Awaitable[None]]

_PREFETCH: Final = 200
_BATCH: Final = 100
# How often one event may fail alone before it is set aside as poison.
_TRIES: Final = 3
# A broker can forget a consumer without telling it; nothing but asking shows it.
_WATCH_SECONDS: Final = 5
_ASK_SECONDS: Final = 10

log = logger(__name__)


class Consumer:
    """Feeds one queue's events to a handler until told to stop."""

    def __init__(self, settings: BrokerSettings, queue: QueueSpec, handler: Handler, *, name: str) -> None:
        self._settings = settings
        self._spec = queue
        self._handler = handler
        self._name = name
        self._connection: AbstractRobustConnection | None = None
        self._consuming = False
        CONSUMING.labels(queue.name).set_function(lambda: self.connected)

    @property
    def connected(self) -> bool:
        return self._consuming and self._connection is not None and self._connection.connected.is_set()

    async def run(self, stop: asyncio.Event) -> None:
        """Consumes until `stop`; finishes and acknowledges the batch at hand, leaves the rest to the broker."""
        await keep_running(f"consumer {self._spec.name}", lambda: self._run_once(stop), stop)

    async def _run_once(self, stop: asyncio.Event) -> None:
        self._connection = await connect_patiently(self._settings, name=f"{self._name} consumer", stop=stop)
        if self._connection is None:
            return
        try:
            channel = await self._connection.channel()
            await channel.set_qos(prefetch_count=_PREFETCH)
            queue = await channel.get_queue(queue_name(self._settings.bus_namespace, self._spec), ensure=True)
            arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            tag = await queue.consume(arrived.put, timeout=10)
            self._consuming = True
            work = asyncio.create_task(self._work(arrived, stop))
            try:
                while not work.done():
                    await asyncio.wait({work}, timeout=_WATCH_SECONDS)
                    if not work.done() and self._connection.connected.is_set():
                        await self._refuse_forgotten(channel, tag)
                await work
                await queue.cancel(tag, timeout=5)
            finally:
                work.cancel()
        finally:
            self._consuming = False
            connection, self._connection = self._connection, None
            await connection.close()

    async def _refuse_forgotten(self, channel: AbstractRobustChannel, tag: str) -> None:
        name = queue_name(self._settings.bus_namespace, self._spec)
        async with asyncio.timeout(_ASK_SECONDS):
            # The channel itself would answer from memory, so its underlay asks.
            underlay = await channel.get_underlay_channel()
            declared = await underlay.queue_declare(name, passive=True)
        forgotten_here = isinstance(underlay, Channel) and tag not in underlay.consumers
        if forgotten_here or not declared.consumer_count:
            raise ConnectionError("the broker has forgotten this consumer")

    async def _work(self, arrived: asyncio.Queue[AbstractIncomingMessage], stop: asyncio.Event) -> None:
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                first = asyncio.create_task(arrived.get())
                await asyncio.wait({first, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not first.done():
                    first.cancel()
                    return
                batch = [first.result()]
                while len(batch) < _BATCH and not arrived.empty():
                    batch.append(arrived.get_nowait())
                await self._handle(batch, stop)
        finally:
            stopped.cancel()

    async def _handle(self, batch: list[AbstractIncomingMessage], stop: asyncio.Event) -> None:
        readable, events = [], []
        for message in batch:
            try:
                events.append(_envelope(message))
                readable.append(message)
            except NotAnEnvelope as error:
                await self._set_aside(message, f"not an event: {error}")
        try:
            if await self._until_done(events, stop):
                await _acknowledge(readable)
        except Exception as error:  # noqa: BLE001  one of them is poison: find it by handling each alone
            log.warning("batch.failed", queue=self._spec.name, events=len(events), reason=repr(error))
            for message, event in zip(readable, events, strict=True):
                if not await self._handle_alone(message, event, stop):
                    # To acknowledge a later one would acknowledge this one with it.
                    return

    async def _handle_alone(
        self, message: AbstractIncomingMessage, event: Envelope, stop: asyncio.Event
    ) -> bool:
        """Whether the broker has been told what became of it."""
        reason, waits = "", pauses()
        for _ in range(_TRIES):
            try:
                done = await self._until_done([event], stop)
            except Exception as error:  # noqa: BLE001  recorded when it is set aside
                reason = f"{type(error).__name__}: {error}"
                if await wait_for(stop, next(waits)):
                    return False
                continue
            if done:
                await _acknowledge([message])
            return done
        await self._set_aside(message, reason)
        return True

    async def _until_done(self, events: list[Envelope], stop: asyncio.Event) -> bool:
        """True when handled. A database that is away is waited for: that is nobody's poison."""
        waits = pauses()
        while events:
            try:
                await self._handler(events)
            except DATABASE_UNABLE as error:
                pause = next(waits)
                log.warning("database.unable", reason=type(error).__name__, retry_in_seconds=pause)
                if await wait_for(stop, pause):
                    return False
            else:
                return True
        return True

    async def _set_aside(self, message: AbstractIncomingMessage, reason: str) -> None:
        log.error("event.dead_lettered", queue=self._spec.name, event_id=message.message_id, reason=reason)
        try:
            await message.reject(requeue=False)
        except (AMQPError, OSError, RuntimeError) as error:
            log.info("ack.lost", queue=self._spec.name, reason=type(error).__name__)


async def _acknowledge(messages: list[AbstractIncomingMessage]) -> None:
    """One ack for all. When the connection was lost meanwhile they come again, which handlers expect."""
    if not messages:
        return
    try:
        await messages[-1].ack(multiple=True)
    except (AMQPError, OSError, RuntimeError) as error:
        log.info("ack.lost", messages=len(messages), reason=type(error).__name__)


def _envelope(message: AbstractIncomingMessage) -> Envelope:
    trace = message.headers.get("traceparent")
    return Envelope.parse(message.body, traceparent=trace if isinstance(trace, str) else None)
