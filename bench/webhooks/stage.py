"""What the benches of the webhooks have in common: a stage of our own servers, brands with endpoints, and real services on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

import asyncpg

from mailement_cli.commands.migrate import migrate_database
from mailement_cli.local.ports import free_port
from mailement_cli.local.servers import LocalServers, start_servers
from mailement_common.bus import topology
from mailement_common.sealing import KeyRing, new_key
from mailement_common.settings import BrokerSettings, DatabaseSettings
from mailement_newsletter.catalog.accounts import Account, create_account
from mailement_newsletter.catalog.brands import Brand, create_brand
from mailement_newsletter.rules.lifecycle import OptInMode
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.rules.guard import Guard, parse_networks
from mailement_webhooks.usecases.set_endpoint import set_endpoint

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OUT = ROOT / "bench" / "out"

_LOOPBACK = "127.0.0.0/8"
_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A migrated database and a declared bus that nothing else uses. `settings`: of any service, by their variables."""

    database_url: str
    settings: dict[str, str]

    @property
    def key_ring(self) -> KeyRing:
        return KeyRing(self.settings["MAILEMENT_SECRET_KEYS"])


@contextmanager
def private_servers() -> Iterator[LocalServers]:
    """Durable ones, in a temporary folder."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mailement-bench-") as folder:
        # PostgreSQL, where we are root, runs as somebody else, who has to get through here.
        Path(folder).chmod(0o711)
        servers = start_servers(Path(folder), durable=True)
        try:
            yield servers
        finally:
            servers.discard()


async def set_stage(servers: LocalServers, name: str) -> Stage:
    """`name`: of the database and of the bus."""
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
    url = f"{servers.database_url.rpartition('/')[0]}/{name}"
    await migrate_database(DatabaseSettings(database_url=url))
    await topology.declare(BrokerSettings(amqp_url=servers.amqp_url, bus_namespace=name))
    return Stage(
        database_url=url,
        settings={
            "DATABASE_URL": url,
            "AMQP_URL": servers.amqp_url,
            "MAILEMENT_BUS_NAMESPACE": name,
            "MAILEMENT_SECRET_KEYS": new_key("bench"),
            "MAILEMENT_WEBHOOK_ALLOW_CIDRS": _LOOPBACK,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A brand and the endpoint that hears it."""

    brand: Brand
    endpoint: Endpoint


async def make_tenants(connection: asyncpg.Connection, stage: Stage, urls: Sequence[str]) -> list[Tenant]:
    """One brand for each URL, in one account."""
    account = await create_account(connection, slug="bench", name="Bench")
    return [
        await _make_tenant(connection, stage, account, f"brand-{number}", url)
        for number, url in enumerate(urls)
    ]


async def _make_tenant(
    connection: asyncpg.Connection, stage: Stage, account: Account, slug: str, url: str
) -> Tenant:
    brand = await create_brand(
        connection, account_id=account.id, slug=slug, name=slug, opt_in=OptInMode.SINGLE
    )
    guard = Guard(allow=parse_networks(_LOOPBACK))
    endpoint, _ = await set_endpoint(connection, stage.key_ring, brand.id, account.id, url, guard=guard)
    return Tenant(brand=brand, endpoint=endpoint)


@contextmanager
def running_service(stage: Stage, name: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`mailement run <name>` as a process of its own; ready when the block begins. Its log is bench/out/<name>.log."""
    ops_port = free_port()
    environ = {**inherited(), **stage.settings, "MAILEMENT_OPS_PORT": str(ops_port), **settings}
    words = [sys.executable, "-m", "mailement_cli", "run", name]
    with (OUT / f"{name}.log").open("wb") as log, ending(words, environ=environ, out=log) as process:
        _await_answer(f"http://127.0.0.1:{ops_port}/readyz", process)
        yield process


@contextmanager
def running_receiver(*options: str) -> Iterator[str]:
    """Its URL; `options` of bench.webhooks.receiver."""
    port = free_port()
    words = [sys.executable, "-m", "bench.webhooks.receiver", str(port), *options]
    with ending(words, environ=inherited()) as process:
        _await_answer(f"http://127.0.0.1:{port}/count", process)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def ending(
    words: Sequence[str], *, environ: dict[str, str], out: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    process = subprocess.Popen(words, cwd=ROOT, env=environ, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def inherited() -> dict[str, str]:
    """The environment of this process without our settings: what is measured is what stands here."""
    ours = ("MAILEMENT_", "DATABASE_URL", "AMQP_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}  # noqa: TID251


def ask(url: str) -> bytes:
    with urlopen(url, timeout=30) as answer:
        content: bytes = answer.read()
    return content


def until(holds: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Asks now and then, so that asking costs nothing. Ends the program if it does not come true."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"bench: did not happen within {seconds:.0f} s: {what}")
        time.sleep(0.02)


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            sys.exit(f"bench: {process.args!r} ended with {process.returncode}; its log is in {OUT}")
        try:
            return bool(ask(url))
        except (URLError, OSError):
            return False

    until(answers, seconds=_READY_SECONDS, what=f"{url} answers")
