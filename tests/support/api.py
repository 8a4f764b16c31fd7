"""The real api behind a real HTTP server on a free port, and a client that sends exactly what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
import uvicorn
from multidict import CIMultiDictProxy
from pydantic import SecretStr
from yarl import URL

from mailement_api.app import create_app
from mailement_api.keys import KeyCache
from mailement_api.service import Api
from mailement_api.settings import ApiSettings
from mailement_common.db.checks import database_checks
from mailement_common.health import EmbeddedServer, Health
from mailement_common.sealing import new_key
from mailement_newsletter.schema import MIGRATIONS
from tests.support.database import Database

_NOT_GIVEN = object()
# The client adds nothing by itself: a test may want to see what happens without it.
_ADD_NOTHING = ("Content-Type", "User-Agent", "Accept", "Accept-Encoding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`body` is the JSON of the answer, None where it has no body."""

    status: int
    headers: CIMultiDictProxy[str]
    raw: bytes

    @property
    def body(self) -> Any:
        return orjson.loads(self.raw) if self.raw else None

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of an error; what every test of a refusal looks at."""
        return self.status, self.body["error"]


@dataclass(slots=True, kw_only=True)
class ApiUnderTest:
    """`woken` counts how often the relay was told that an event was committed."""

    url: str
    port: int
    health: Health
    settings: ApiSettings
    session: aiohttp.ClientSession
    woken: list[None] = field(default_factory=list)

    async def post(
        self,
        path: str,
        json: object = _NOT_GIVEN,
        *,
        raw: bytes | AsyncIterator[bytes] | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`json` goes out as such with its content type, `raw` as it is and without one."""
        sent = dict(headers or {})
        body = raw
        if json is not _NOT_GIVEN:
            body = orjson.dumps(json)
            sent.setdefault("Content-Type", "application/json")
        return await self.request("POST", path, raw=body, key=key, headers=sent)

    async def request(
        self,
        method: str,
        path: str,
        *,
        raw: bytes | AsyncIterator[bytes] | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        async with self.session.request(
            method,
            URL(self.url + path, encoded=True),
            data=raw,
            headers=sent,
            skip_auto_headers=_ADD_NOTHING,
            allow_redirects=False,
        ) as response:
            return Answer(status=response.status, headers=response.headers, raw=await response.read())


def api_settings(database_url: str, **overrides: Any) -> ApiSettings:
    """A broker is named that is not there: the api does without."""
    return ApiSettings(
        database_url=database_url,
        amqp_url="amqp://127.0.0.1:9/",
        secret_keys=SecretStr(new_key("test")),
        **overrides,
    )


@contextlib.asynccontextmanager
async def serve(pool: asyncpg.Pool, settings: ApiSettings) -> AsyncIterator[ApiUnderTest]:
    """The app as the service composes it, without the relay: what it writes stays in the outbox."""
    health = Health(checks=database_checks(pool, MIGRATIONS))
    keys = KeyCache(pool)
    woken: list[None] = []
    app = create_app(pool=pool, settings=settings, health=health, wake=lambda: woken.append(None), keys=keys)
    server = EmbeddedServer(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off")
    )
    stop = asyncio.Event()
    background = [asyncio.create_task(keys.listen(settings, stop)), asyncio.create_task(keys.note_uses(stop))]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    url = f"http://127.0.0.1:{server.port}"
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=30)
        ) as session:
            yield ApiUnderTest(
                url=url, port=server.port, health=health, settings=settings, session=session, woken=woken
            )
    finally:
        stop.set()
        await _stop(server, serving)
        await asyncio.gather(*background)


@contextlib.asynccontextmanager
async def running_service(database_url: str) -> AsyncIterator[ApiUnderTest]:
    """The whole service, relay and all, as `mailement run api` starts it."""
    settings, health, stop = api_settings(database_url, http_port=unused_port()), Health(), asyncio.Event()
    service = Api(settings, health)
    health.checks.update(service.checks())
    running = asyncio.create_task(service.run(stop))
    try:
        async with aiohttp.ClientSession() as session:
            served = ApiUnderTest(
                url=f"http://127.0.0.1:{settings.http_port}",
                port=settings.http_port,
                health=health,
                settings=settings,
                session=session,
            )
            await _until_it_answers(served, running)
            yield served
    finally:
        stop.set()
        await running


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@pytest.fixture
async def api(database: Database) -> AsyncIterator[ApiUnderTest]:
    async with serve(database.pool, api_settings(database.url)) as served:
        yield served


async def _until_it_answers(service: ApiUnderTest, running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(10):
        while not running.done():
            try:
                await service.request("GET", "/healthz")
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)
            else:
                return
    await running


async def _stop(server: EmbeddedServer, serving: asyncio.Task[None]) -> None:
    # Its own way out rests for a fifth of a second; with hundreds of tests that is the longest part of them.
    serving.cancel()
    for listening in server.servers:
        listening.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    await asyncio.gather(serving, return_exceptions=True)
