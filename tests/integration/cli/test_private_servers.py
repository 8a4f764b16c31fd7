from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from mailement_cli.local.errors import FolderInUse
from mailement_cli.local.postgres import PrivatePostgres
from mailement_cli.local.processes import ProcessRecord, find_process, is_alive
from mailement_cli.local.rabbitmq import PrivateRabbitmq, speaks_amqp
from mailement_cli.local.servers import start_servers

pytestmark = pytest.mark.timeout(180)

RUN_UNTIL_KILLED = """
import sys, threading
from pathlib import Path
from mailement_cli.local.servers import start_servers

servers = start_servers(Path(sys.argv[1]), durable=True, environ={"PATH": sys.argv[2]})
print("up", flush=True)
threading.Event().wait()
"""


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


async def test_postgres_keeps_address_and_data_over_a_crash(postgres: PrivatePostgres) -> None:
    postgres.start()
    url = postgres.url
    await _execute(url, "CREATE TABLE kept (word text)")

    postgres.kill()
    postgres.start()

    assert postgres.url == url
    await _execute(url, "SELECT word FROM kept")


async def test_postgres_starts_beside_a_pid_file_that_names_somebody_else(postgres: PrivatePostgres) -> None:
    postgres.start()
    pid_file = postgres.home / "data" / "postmaster.pid"
    left_behind = pid_file.read_text().splitlines()
    postgres.kill()
    pid_file.write_text("\n".join(["1", *left_behind[1:]]))

    postgres.start()

    await _execute(postgres.url, "SELECT 1")


async def test_postgres_asks_for_its_password(postgres: PrivatePostgres) -> None:
    postgres.start()
    user, _, rest = postgres.url.rpartition("@")

    with pytest.raises(asyncpg.InvalidPasswordError):
        await _execute(f"{user.rpartition(':')[0]}:wrong@{rest}", "SELECT 1")


def test_starting_postgres_twice_starts_one(postgres: PrivatePostgres, tmp_path: Path) -> None:
    postgres.start()
    running = ProcessRecord(path=tmp_path / "postgres" / "running.json").left_over()

    postgres.start()

    assert ProcessRecord(path=tmp_path / "postgres" / "running.json").left_over() == running


async def test_rabbitmq_keeps_address_and_queues_over_a_crash(
    rabbitmq: PrivateRabbitmq, tmp_path: Path
) -> None:
    rabbitmq.start()
    url = rabbitmq.url
    async with await aio_pika.connect(url) as connection:
        await (await connection.channel()).declare_queue("kept-over-a-crash", durable=True)
    await _until_on_disk(tmp_path, b"kept-over-a-crash")

    rabbitmq.kill()
    rabbitmq.start()

    assert rabbitmq.url == url
    async with await aio_pika.connect(url) as connection:
        await (await connection.channel()).declare_queue("kept-over-a-crash", passive=True)


async def _until_on_disk(folder: Path, name: bytes) -> None:
    """RabbitMQ answers before it has written a new queue's name into its schema (Mnesia's log, or Khepri's)."""
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(_stands_in_the_schema, folder, name):
            await asyncio.sleep(0.05)


def _stands_in_the_schema(folder: Path, name: bytes) -> bool:
    schema = (".LOG", ".DCD", ".DCL", ".wal", ".segment")
    return any(name in path.read_bytes() for path in folder.rglob("*") if path.suffix in schema)


def test_a_start_after_the_owner_was_killed_ends_what_it_left(tmp_path: Path) -> None:
    path = _path_variable()
    with subprocess.Popen(
        [sys.executable, "-c", RUN_UNTIL_KILLED, tmp_path, path], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        with pytest.raises(FolderInUse, match=str(owner.pid)):
            start_servers(tmp_path, durable=True, environ={"PATH": path})
        owner.send_signal(signal.SIGKILL)
    orphans = [
        process
        for server in ("postgres", "rabbitmq")
        for process in ProcessRecord(path=tmp_path / server / "running.json").left_over()
    ]
    assert len(orphans) == 3

    servers = start_servers(tmp_path, durable=True, environ={"PATH": path})

    try:
        assert not any(is_alive(orphan) for orphan in orphans)
        assert speaks_amqp(int(servers.amqp_url.rpartition(":")[2].rstrip("/")))
    finally:
        servers.discard()


def test_stopping_leaves_no_process(tmp_path: Path) -> None:
    servers = start_servers(tmp_path, durable=False, environ={"PATH": _path_variable()})
    records = [tmp_path / server / "running.json" for server in ("postgres", "rabbitmq")]
    pids = [process["pid"] for record in records for process in json.loads(record.read_text())]

    servers.stop()

    assert [find_process(pid) for pid in pids] == [None] * len(pids)
    servers.discard()


def test_servers_that_are_given_are_used_and_left_alone(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "postgresql://somewhere/else", "MAILEMENT_AMQP_URL": "amqp://somewhere/"}

    servers = start_servers(tmp_path, durable=True, environ=environ)
    servers.stop()

    assert servers.database_url == "postgresql://somewhere/else"
    assert servers.amqp_url == "amqp://somewhere/"
    assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]


def _path_variable() -> str:
    return os.environ["PATH"]  # noqa: TID251


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
