"""The two servers that the tests run against, one pair for the whole run.

MAILEMENT_TEST_DATABASE_URL and MAILEMENT_TEST_AMQP_URL (or the same without the prefix) name servers
that are there already. Else they are containers where a Docker engine has the images, and private
servers in a temporary folder otherwise; MAILEMENT_TEST_SERVERS=local or =docker decides it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mailement_cli.local.binaries import find_docker
from mailement_cli.local.docker import POSTGRES_IMAGE, RABBITMQ_IMAGE
from mailement_cli.local.errors import FolderInUse
from mailement_cli.local.folders import FolderLock
from mailement_cli.local.postgres import PrivatePostgres
from mailement_cli.local.rabbitmq import PrivateRabbitmq, speaks_amqp

DATABASE_VARIABLE = "MAILEMENT_TEST_DATABASE_URL"
AMQP_VARIABLE = "MAILEMENT_TEST_AMQP_URL"

_PREFIX = "mailement-tests-"
_BROKER_SECONDS = 90.0
_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ServersUnderTest:
    """Where the servers are, and how to end those that are ours."""

    database_url: str
    amqp_url: str
    description: str
    stop: Callable[[], None]


def start_servers_under_test(environ: Mapping[str, str]) -> ServersUnderTest:
    """Raises LocalServerError if there is no way to the servers."""
    given = _given(environ)
    if given is not None:
        return given
    wanted = environ.get("MAILEMENT_TEST_SERVERS")
    if wanted == "docker" or (wanted != "local" and _docker_has_images(environ)):
        return _start_containers()
    return _start_private(environ)


def _given(environ: Mapping[str, str]) -> ServersUnderTest | None:
    database_url = environ.get(DATABASE_VARIABLE) or environ.get("TEST_DATABASE_URL")
    amqp_url = environ.get(AMQP_VARIABLE) or environ.get("TEST_AMQP_URL")
    if not database_url or not amqp_url:
        return None
    description = "those that the environment names"
    return ServersUnderTest(
        database_url=database_url, amqp_url=amqp_url, description=description, stop=lambda: None
    )


def _docker_has_images(environ: Mapping[str, str]) -> bool:
    docker = find_docker(environ, patience_seconds=2.0)
    if docker is None:
        return False
    look = subprocess.run(
        [docker, "image", "inspect", POSTGRES_IMAGE, RABBITMQ_IMAGE], check=False, capture_output=True
    )
    return look.returncode == 0


def _start_containers() -> ServersUnderTest:
    # Read by testcontainers when it is imported. Its reaper is one more image, and we stop what we start.
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # noqa: TID251
    os.environ["TESTCONTAINERS_HOST_OVERRIDE"] = "127.0.0.1"  # noqa: TID251
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.core.container import DockerContainer

    database = PostgresContainer(POSTGRES_IMAGE, driver=None).with_command(
        "postgres -c max_connections=200 -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    )
    # Its own RabbitMqContainer wants a client library that nothing else here needs.
    broker = DockerContainer(RABBITMQ_IMAGE).with_exposed_ports(5672)
    broker.with_env("RABBITMQ_DEFAULT_USER", "mailement").with_env("RABBITMQ_DEFAULT_PASS", "mailement")

    def stop() -> None:
        for container in (database, broker):
            container.stop()

    try:
        _both(database.start, broker.start)
        port = int(broker.get_exposed_port(5672))
        _wait_for_broker(port)
    except BaseException:
        stop()
        raise
    return ServersUnderTest(
        database_url=database.get_connection_url(),
        amqp_url=f"amqp://mailement:mailement@127.0.0.1:{port}/",
        description=f"containers of {POSTGRES_IMAGE} and {RABBITMQ_IMAGE}",
        stop=stop,
    )


def _both(one: Callable[[], object], other: Callable[[], object]) -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        for deed in [pool.submit(one), pool.submit(other)]:
            deed.result()


def _wait_for_broker(port: int) -> None:
    deadline = time.monotonic() + _BROKER_SECONDS
    while not speaks_amqp(port):
        if time.monotonic() > deadline:
            raise TimeoutError(f"RabbitMQ's container does not speak AMQP after {_BROKER_SECONDS:.0f} s")
        time.sleep(0.1)


def _start_private(environ: Mapping[str, str]) -> ServersUnderTest:
    temporary = _temporary_folder()
    _sweep(temporary, environ)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=temporary))
    # PostgreSQL, where we are root, runs as somebody else, who has to get through here.
    folder.chmod(0o711)
    lock = FolderLock(folder)
    lock.take()
    database, broker = _private_pair(folder, environ)

    def stop() -> None:
        _discard(folder, (database, broker))
        lock.release()

    try:
        _both(database.start, broker.start)
    except BaseException:
        stop()
        raise
    description = f"{database.describe()}; {broker.describe()}"
    return ServersUnderTest(
        database_url=database.url, amqp_url=broker.url, description=description, stop=stop
    )


def _temporary_folder() -> Path:
    """In memory where there is room: each test makes a database of some four hundred files and throws it away."""
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        return _MEMORY
    return Path(tempfile.gettempdir())


def _private_pair(folder: Path, environ: Mapping[str, str]) -> tuple[PrivatePostgres, PrivateRabbitmq]:
    database = PrivatePostgres(folder / "postgres", durable=False, environ=environ)
    return database, PrivateRabbitmq(folder / "rabbitmq", environ=environ)


def _sweep(temporary: Path, environ: Mapping[str, str]) -> None:
    """End and remove what test runs have left that were killed before they could do so."""
    for folder in temporary.glob(f"{_PREFIX}*"):
        is_ours = not folder.is_symlink() and folder.stat().st_uid == os.geteuid()
        # Without a lock file nothing was started there yet, and its owner may be about to.
        if not is_ours or not (folder / "lock").exists():
            continue
        lock = FolderLock(folder)
        try:
            lock.take()
        except FolderInUse:
            continue
        _discard(folder, _private_pair(folder, environ))
        lock.release()


def _discard(folder: Path, pair: tuple[PrivatePostgres, PrivateRabbitmq]) -> None:
    for server in pair:
        server.discard()
    shutil.rmtree(folder, ignore_errors=True)
