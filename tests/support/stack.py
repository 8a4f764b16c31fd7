"""All services in one process, as `mailement run all` has them, against the servers under test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from mailement_cli.local.ports import free_port
from mailement_cli.services import ServiceName, load_settings, make_services
from mailement_common.health import Health
from mailement_common.sealing import new_key
from mailement_common.service import run_until
from mailement_common.settings import BrokerSettings
from tests.support.database import Database

_READY_SECONDS = 20
SECRET_KEYS = new_key("stack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """`url` is the api's, `ops_url` that of its internal port; mails are files in `mail`."""

    url: str
    ops_url: str
    mail: Path
    session: aiohttp.ClientSession

    async def subscribe(self, key: str, **body: object) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        async with self.session.post(f"{self.url}/api/v1/subscribe", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def readiness(self) -> tuple[int, Any]:
        async with self.session.get(f"{self.ops_url}/readyz") as response:
            return response.status, await response.json()


@asynccontextmanager
async def running_stack(
    database: Database,
    broker: BrokerSettings,
    folder: Path,
    *,
    services: Sequence[ServiceName] = tuple(ServiceName),
) -> AsyncIterator[Stack]:
    """Ready when the block begins, with the broker; drained when it has ended."""
    http_port, ops_port = free_port(), free_port()
    given = {
        "database_url": database.url,
        "amqp_url": broker.amqp_url,
        "bus_namespace": broker.bus_namespace,
        "secret_keys": SECRET_KEYS,
        "http_port": http_port,
        "ops_port": ops_port,
        "public_url": f"http://127.0.0.1:{http_port}",
        "mail_folder": folder / "mail",
        "webhook_allow_cidrs": "127.0.0.0/8",
        "log_level": "warning",
    }
    settings = load_settings(services, given)
    health, stop = Health(), asyncio.Event()
    running = asyncio.create_task(
        run_until(stop, make_services(settings, health), next(iter(settings.values())), health)
    )
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            stack = Stack(
                url=f"http://127.0.0.1:{http_port}",
                ops_url=f"http://127.0.0.1:{ops_port}",
                mail=folder / "mail",
                session=session,
            )
            await _until_ready(stack, running)
            yield stack
    finally:
        stop.set()
        await running


async def _until_ready(stack: Stack, running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while not running.done():
            await asyncio.sleep(0.02)
            with contextlib.suppress(aiohttp.ClientConnectionError):
                status, report = await stack.readiness()
                checks = [check for check in report["checks"].values() if isinstance(check, dict)]
                if status == 200 and all(check["ok"] for check in checks):
                    return
    await running
