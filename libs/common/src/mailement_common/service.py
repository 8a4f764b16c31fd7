"""The life of a process: start → run → SIGTERM → drain → stop."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from mailement_common.health import Check, Health, ops_server
from mailement_common.logs import logger
from mailement_common.settings import ServiceSettings

log = logger(__name__)


class Service(Protocol):
    """One service. `run` returns when `stop` is set and what was at hand is finished."""

    @property
    def name(self) -> str: ...

    def checks(self) -> Mapping[str, Check]: ...

    async def run(self, stop: asyncio.Event) -> None: ...


class ServiceEnded(Exception):
    """A service returned although nobody asked it to."""


async def run_until_told(services: Sequence[Service], settings: ServiceSettings, health: Health) -> None:
    """Runs services side by side in this process until SIGTERM or SIGINT, or until one of them fails.

    Raises what a service raised. After `drain_seconds` whatever still runs is cancelled.
    """
    _allow_many_descriptors()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await run_until(stop, services, settings, health)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def run_until(
    stop: asyncio.Event, services: Sequence[Service], settings: ServiceSettings, health: Health
) -> None:
    """As `run_until_told`, stopped by an event instead of a signal."""
    for service in services:
        health.checks.update(service.checks())
    ops = ops_server(settings, health)
    tasks = {asyncio.create_task(service.run(stop), name=service.name) for service in services}
    ops_task = asyncio.create_task(ops.serve(), name="ops")
    stopped = asyncio.create_task(_until(stop), name="stop")
    _spare_the_collector()
    log.info("service.started", services=[service.name for service in services])
    try:
        done, _ = await asyncio.wait({*tasks, ops_task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        health.draining = True
        log.info("service.draining", reason="asked" if stop.is_set() else "a service ended")
        stop.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=settings.drain_seconds)
            for task in late:
                log.error("service.drain_timeout", name=task.get_name())
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done - {stopped}:
            if (error := task.exception()) is not None:
                raise error
            if not stopped.done():
                raise ServiceEnded(task.get_name())
    finally:
        stopped.cancel()
        ops.should_exit = True
        await asyncio.gather(ops_task, return_exceptions=True)
        log.info("service.stopped")


def _allow_many_descriptors() -> None:
    """As many as the system grants: the usual soft limit of 1,024 is less than some settings allow connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _spare_the_collector() -> None:
    """What start-up has made lives as long as the process: looking at it again and again is a twentieth of the work."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
