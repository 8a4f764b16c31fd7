"""What was acknowledged arrives, whoever crashes meanwhile: private servers that can be killed, and everything
else in a process that can be killed as well.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from mailement_cli.demo.brand import make_demo_brand
from mailement_cli.local.ports import free_port
from mailement_cli.local.postgres import PrivatePostgres
from mailement_cli.local.rabbitmq import PrivateRabbitmq
from mailement_common.bus import topology
from mailement_common.db.migrate import migrate, read_migrations
from mailement_common.db.pool import connect
from mailement_common.sealing import KeyRing, new_key
from mailement_common.settings import BrokerSettings, DatabaseSettings
from mailement_newsletter.schema import MIGRATIONS
from mailement_webhooks.rules.guard import Guard, parse_networks
from tests.support.processes import Program
from tests.support.webhook_receiver import WebhookReceiver

pytestmark = pytest.mark.timeout(240)

_CALLERS = 4
_DEADLINE_SECONDS = 60
# RabbitMQ may forget a quorum queue that is younger, when it is killed.
_QUEUE_AGE_SECONDS = 2.0


@dataclass(slots=True)
class Suite:
    """Both servers, `mailement run all`, a brand with a welcome drip, and a receiver of its webhooks."""

    postgres: PrivatePostgres
    rabbitmq: PrivateRabbitmq
    receiver: WebhookReceiver
    session: aiohttp.ClientSession
    folder: Path
    settings: dict[str, str]
    key: str = ""
    program: Program | None = None
    acknowledged: dict[str, int] = field(default_factory=dict)
    statuses: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def url(self) -> str:
        return self.settings["MAILEMENT_PUBLIC_URL"]

    def start(self) -> None:
        self.program = Program(["run", "all"], self.settings, self.folder)

    async def kill(self) -> None:
        assert self.program is not None
        self.program.tell(signal.SIGKILL)
        await asyncio.to_thread(self.program.wait)

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """0 when nobody answers."""
        try:
            async with self.session.get(f"{self.url}/readyz") as response:
                return response.status, await response.json()
        except aiohttp.ClientError:
            return 0, {}

    async def all_well(self) -> bool:
        status, report = await self.readiness()
        return status == 200 and all(
            check["ok"] for check in report["checks"].values() if check not in (True, False)
        )

    async def call(self, email: str) -> tuple[int, Any]:
        """0 when there is no answer."""
        headers = {"Authorization": f"Bearer {self.key}"}
        try:
            async with self.session.post(
                f"{self.url}/api/v1/subscribe", json={"email": email}, headers=headers
            ) as response:
                return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError):
            return 0, None

    async def sign_up(self, email: str) -> None:
        """Calls until it is acknowledged, as an integrator would."""
        while True:
            status, body = await self.call(email)
            self.statuses[status] += 1
            if status == 200:
                self.acknowledged[email] = body["subscriber_id"]
                return
            assert status in (0, 503), body
            await asyncio.sleep(0.05)

    async def webhook_ids(self) -> dict[str, set[str]]:
        """Per address the ids of the confirmations that came."""
        found = defaultdict(set)
        for request in self.receiver.requests:
            body = orjson.loads(request.body)
            assert body["event"] == "subscriber.confirmed"
            found[body["data"]["subscriber"]["email"]].add(request.header("webhook-id"))
        return found

    def mails(self) -> list[str]:
        paths = (self.folder / "mail").glob("*.eml")
        return [message_from_bytes(path.read_bytes(), policy=policy.default)["To"] for path in paths]


@asynccontextmanager
async def _load(suite: Suite, name: str) -> AsyncIterator[None]:
    """Callers sign people up for the length of the block; what they began, they bring to its end."""
    done = asyncio.Event()

    async def caller(number: int) -> None:
        count = 0
        while not done.is_set() or count < 3:
            await suite.sign_up(f"{name}-{number}-{count}@example.com")
            count += 1
            await asyncio.sleep(0.1)

    callers = [asyncio.create_task(caller(number)) for number in range(_CALLERS)]
    try:
        yield
    finally:
        done.set()
        async with asyncio.timeout(_DEADLINE_SECONDS):
            await asyncio.gather(*callers)


async def _until(
    holds: Callable[[], Awaitable[bool]], what: str, *, seconds: float = _DEADLINE_SECONDS
) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"did not happen within {seconds} s: {what}") from None


async def _everything_arrived(suite: Suite) -> None:
    """One id per signup, one mail per signup."""

    async def arrived() -> bool:
        return set(await suite.webhook_ids()) >= set(suite.acknowledged) and len(suite.mails()) >= len(
            suite.acknowledged
        )

    await _until(arrived, "every acknowledged signup has its webhook and its mail")
    ids = await suite.webhook_ids()
    assert set(ids) == set(suite.acknowledged)
    assert {email: len(its_ids) for email, its_ids in ids.items() if len(its_ids) != 1} == {}
    assert sorted(suite.mails()) == sorted(suite.acknowledged)


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(tmp_path / "postgres", durable=True)
    yield server
    server.discard()


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[PrivateRabbitmq]:
    server = PrivateRabbitmq(tmp_path / "rabbitmq")
    yield server
    server.discard()


@pytest.fixture
async def suite(postgres: PrivatePostgres, rabbitmq: PrivateRabbitmq, tmp_path: Path) -> AsyncIterator[Suite]:
    await asyncio.gather(asyncio.to_thread(postgres.start), asyncio.to_thread(rabbitmq.start))
    port = free_port()
    settings = {
        "DATABASE_URL": postgres.url,
        "AMQP_URL": rabbitmq.url,
        "MAILEMENT_SECRET_KEYS": new_key("test"),
        "MAILEMENT_WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
        "MAILEMENT_HTTP_PORT": str(port),
        "MAILEMENT_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "MAILEMENT_OPS_PORT": "0",
        "MAILEMENT_MAIL_FOLDER": str(tmp_path / "mail"),
    }
    await topology.declare(BrokerSettings(amqp_url=rabbitmq.url))
    declared = time.monotonic()
    async with (
        WebhookReceiver() as receiver,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session,
    ):
        made = Suite(
            postgres=postgres,
            rabbitmq=rabbitmq,
            receiver=receiver,
            session=session,
            folder=tmp_path,
            settings=settings,
        )
        made.key = await _prepare(made)
        made.start()
        try:
            await _until(made.all_well, "everything is ready")
            await asyncio.sleep(max(declared + _QUEUE_AGE_SECONDS - time.monotonic(), 0))
            yield made
        finally:
            assert made.program is not None
            made.program.kill()


async def _prepare(suite: Suite) -> str:
    connection = await connect(DatabaseSettings(database_url=suite.postgres.url), name="test")
    try:
        await migrate(connection, read_migrations(MIGRATIONS))
        brand = await make_demo_brand(
            connection,
            KeyRing(suite.settings["MAILEMENT_SECRET_KEYS"]),
            Guard(allow=parse_networks("127.0.0.0/8")),
            slug="acme",
            webhook_url=suite.receiver.url(),
        )
    finally:
        await connection.close()
    return brand.key


async def test_nothing_acknowledged_is_lost_whoever_is_killed(suite: Suite) -> None:
    async with _load(suite, "broker"):
        await _through_a_broker_crash(suite)
    await _everything_arrived(suite)

    async with _load(suite, "database"):
        await _through_a_database_crash(suite)
    await _everything_arrived(suite)

    async with _load(suite, "services"):
        await _through_a_crash_of_all_services(suite)
    await _everything_arrived(suite)

    assert set(suite.statuses) <= {0, 200, 503}
    assert suite.statuses[503] > 0


async def _through_a_broker_crash(suite: Suite) -> None:
    await asyncio.to_thread(suite.rabbitmq.kill)

    async def noticed() -> bool:
        status, report = await suite.readiness()
        return status == 200 and not report["checks"]["broker"]["ok"]

    await _until(noticed, "the api is ready without the broker, and says that it is away")
    # Nothing needs the broker for an answer.
    for number in range(5):
        status, body = await suite.call(f"meanwhile-{number}@example.com")
        assert status == 200
        suite.acknowledged[f"meanwhile-{number}@example.com"] = body["subscriber_id"]
    await asyncio.to_thread(suite.rabbitmq.start)
    await _until(suite.all_well, "the broker is back", seconds=15)


async def _through_a_database_crash(suite: Suite) -> None:
    await asyncio.to_thread(suite.postgres.kill)

    status, body = await suite.call("nobody@example.com")
    assert (status, body["error"]) == (503, "service_unavailable")
    status, report = await suite.readiness()
    assert (status, report["checks"]["database"]["ok"]) == (503, False)
    await asyncio.to_thread(suite.postgres.start)
    await _until(suite.all_well, "the database is back", seconds=15)


async def _through_a_crash_of_all_services(suite: Suite) -> None:
    for _ in range(2):
        await suite.kill()
        suite.start()
        await _until(suite.all_well, "the services are back", seconds=20)
