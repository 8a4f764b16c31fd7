"""What supervisors ask: is the process alive, and can it work?"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from mailement_api.service import Api
from mailement_common.health import Health
from tests.support.api import ApiUnderTest, api_settings
from tests.support.brands import Tenant
from tests.support.database import Database


async def test_a_live_process_says_so(api: ApiUnderTest) -> None:
    answer = await api.request("GET", "/healthz")
    assert (answer.status, answer.body) == (200, {"ok": True})
    assert answer.headers["Content-Type"] == "application/json"


async def test_a_ready_process_names_what_it_needs(api: ApiUnderTest) -> None:
    answer = await api.request("GET", "/readyz")
    assert (answer.status, answer.body) == (
        200,
        {
            "ready": True,
            "checks": {
                "database": {"ok": True, "required": True},
                "schema": {"ok": True, "required": True},
                "draining": False,
            },
        },
    )


async def test_a_database_that_lacks_migrations_is_not_ready(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.pool.execute("DELETE FROM schema_migrations WHERE number = 1")
    answer = await api.request("GET", "/readyz")
    assert (answer.status, answer.body["ready"]) == (503, False)
    assert answer.body["checks"]["schema"]["ok"] is False
    assert "mailement migrate" in answer.body["checks"]["schema"]["detail"]


async def test_a_database_that_is_ahead_of_this_build_is_ready(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.pool.execute(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'next', 'x')"
    )
    assert (await api.request("GET", "/readyz")).status == 200


async def test_a_draining_process_takes_no_more_work_but_lives(api: ApiUnderTest) -> None:
    api.health.draining = True
    ready, live = await api.request("GET", "/readyz"), await api.request("GET", "/healthz")
    assert (ready.status, ready.body["ready"], ready.body["checks"]["draining"]) == (503, False, True)
    assert live.status == 200


async def test_without_the_database_it_lives_but_is_not_ready(
    unused_port: Callable[[], int],
) -> None:
    async with _service(f"postgresql://nobody@127.0.0.1:{unused_port()}/nothing", unused_port()) as service:
        ready, live = await service.get("/readyz"), await service.get("/healthz")
    assert (ready.status, live.status) == (503, 200)
    assert (ready.body["checks"]["database"]["ok"], ready.body["checks"]["schema"]["ok"]) == (False, False)


async def test_it_is_ready_without_the_broker_and_takes_signups(
    database: Database, brand: Tenant, unused_port: Callable[[], int]
) -> None:
    async with _service(database.url, unused_port()) as service:
        ready = await service.get("/readyz")
        signed_up = await service.session.post(
            f"{service.url}/api/v1/subscribe",
            json={"email": "reader@example.com"},
            headers={"Authorization": f"Bearer {brand.key}"},
        )
    assert (ready.status, signed_up.status) == (200, 200)
    assert ready.body["checks"]["broker"] == {"ok": False, "required": False, "detail": "not connected"}
    assert await brand.event_types() == ["subscriber.confirmed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    status: int
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    url: str
    session: aiohttp.ClientSession

    async def get(self, path: str) -> _Seen:
        async with self.session.get(self.url + path) as response:
            return _Seen(status=response.status, body=await response.json())


@contextlib.asynccontextmanager
async def _service(database_url: str, port: int) -> AsyncIterator[_Service]:
    """The whole service, relay and all, as `mailement run api` starts it."""
    settings, health, stop = api_settings(database_url, http_port=port), Health(), asyncio.Event()
    service = Api(settings, health)
    health.checks.update(service.checks())
    running = asyncio.create_task(service.run(stop))
    try:
        async with aiohttp.ClientSession() as session:
            served = _Service(url=f"http://127.0.0.1:{port}", session=session)
            await _until_it_answers(served, running)
            yield served
    finally:
        stop.set()
        await running


async def _until_it_answers(service: _Service, running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(10):
        while not running.done():
            try:
                await service.get("/healthz")
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)
            else:
                return
    await running


@pytest.fixture
def unused_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port: int = unused.getsockname()[1]
            return port

    return find
