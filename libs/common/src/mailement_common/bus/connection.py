"""Connections to the broker: with a short heartbeat, and retried from the first attempt on."""

from __future__ import annotations

import asyncio
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractRobustConnection
from aio_pika.exceptions import AMQPConnectionError, AMQPError
from yarl import URL

from mailement_common.logs import logger
from mailement_common.settings import BrokerSettings
from mailement_common.supervise import pauses, wait_for

# A frozen broker is noticed after three heartbeats; the default of 60 seconds would mean three minutes.
_HEARTBEAT_SECONDS: Final = 10
_CONNECT_SECONDS: Final = 10

log = logger(__name__)


class BrokerUnreachable(ConnectionError):
    """The broker does not answer, or hangs up."""


class BrokerRefused(Exception):
    """The broker answers, and will not do what was asked."""


async def connect_once(settings: BrokerSettings) -> AbstractConnection:
    """A plain connection for a short task. Raises BrokerUnreachable."""
    try:
        return await aio_pika.connect(_url(settings), timeout=_CONNECT_SECONDS)
    except (AMQPConnectionError, OSError, TimeoutError) as error:
        raise BrokerUnreachable(f"{type(error).__name__}: {error}") from error


async def connect_patiently(
    settings: BrokerSettings, *, name: str, stop: asyncio.Event
) -> AbstractRobustConnection | None:
    """A connection that comes back by itself; waits for a broker that is not up yet. None when told to stop."""
    waits = pauses()
    while not stop.is_set():
        try:
            return await aio_pika.connect_robust(
                _url(settings), timeout=_CONNECT_SECONDS, client_properties={"connection_name": name}
            )
        except (OSError, AMQPError) as error:
            pause = next(waits)
            log.warning("broker.unreachable", reason=type(error).__name__, retry_in_seconds=pause)
            await wait_for(stop, pause)
    return None


def _url(settings: BrokerSettings) -> URL:
    return URL(settings.amqp_dsn).update_query(heartbeat=_HEARTBEAT_SECONDS, reconnect_interval=1)
