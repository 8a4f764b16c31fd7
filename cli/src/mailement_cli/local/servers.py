"""A database and a broker for this folder: those that are given, else private ones, else Docker's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mailement_cli.local.binaries import find_docker, find_postgres, find_rabbitmq
from mailement_cli.local.docker import DockerPostgres, DockerRabbitmq
from mailement_cli.local.environment import process_environment
from mailement_cli.local.errors import NoServerToRun, NotOurs
from mailement_cli.local.folders import FolderLock
from mailement_cli.local.postgres import PrivatePostgres
from mailement_cli.local.rabbitmq import PrivateRabbitmq


class LocalServer(Protocol):
    """One server that can be started, stopped, and made to crash."""

    @property
    def url(self) -> str: ...

    def describe(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def restart(self) -> None: ...

    def discard(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenServer:
    """A server that somebody else runs: neither started nor stopped by us."""

    url: str
    variable: str

    def describe(self) -> str:
        return f"the server that {self.variable} names"

    def start(self) -> None:
        """It runs already."""

    def stop(self) -> None:
        """It runs on."""

    def kill(self) -> None:
        raise NotOurs(self.variable)

    def restart(self) -> None:
        raise NotOurs(self.variable)

    def discard(self) -> None:
        """Its data are not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServers:
    """Both servers of a folder, running until `stop`."""

    database: LocalServer
    broker: LocalServer
    lock: FolderLock

    @property
    def database_url(self) -> str:
        return self.database.url

    @property
    def amqp_url(self) -> str:
        return self.broker.url

    def describe(self) -> str:
        return f"{self.database.describe()}; {self.broker.describe()}"

    def stop(self) -> None:
        """Stop what is ours and let go of the folder."""
        try:
            _both(self.database.stop, self.broker.stop)
        finally:
            self.lock.release()

    def discard(self) -> None:
        """Kill what is ours, remove its data, and let go of the folder."""
        try:
            _both(self.database.discard, self.broker.discard)
        finally:
            self.lock.release()


def start_servers(folder: Path, *, durable: bool, environ: Mapping[str, str] | None = None) -> LocalServers:
    """Have both servers running, with what is private of them in `folder`.

    DATABASE_URL and AMQP_URL of `environ` (this process's, if none is handed in), with or without the
    prefix MAILEMENT_, name servers to use instead. What an earlier run in this folder has left running is ended first.

    Raises FolderInUse if another process runs servers in this folder, NoServerToRun if there is no way
    to one of them, ServerDidNotStart if one fails.
    """
    environ = process_environment() if environ is None else environ
    lock = FolderLock(folder)
    lock.take()
    try:
        database = _database(folder / "postgres", durable=durable, environ=environ)
        broker = _broker(folder / "rabbitmq", environ)
        servers = LocalServers(database=database, broker=broker, lock=lock)
        try:
            _both(database.start, broker.start)
        except BaseException:
            servers.stop()
            raise
    except BaseException:
        lock.release()
        raise
    return servers


def _database(folder: Path, *, durable: bool, environ: Mapping[str, str]) -> LocalServer:
    if given := _given(environ, "DATABASE_URL"):
        return given
    if binaries := find_postgres(environ):
        return PrivatePostgres(folder, durable=durable, binaries=binaries, environ=environ)
    if docker := find_docker(environ):
        return DockerPostgres(folder, durable=durable, docker=docker, environ=environ)
    raise NoServerToRun("PostgreSQL", "DATABASE_URL")


def _broker(folder: Path, environ: Mapping[str, str]) -> LocalServer:
    if given := _given(environ, "AMQP_URL"):
        return given
    if binaries := find_rabbitmq(environ):
        return PrivateRabbitmq(folder, binaries=binaries, environ=environ)
    if docker := find_docker(environ):
        return DockerRabbitmq(folder, docker=docker, environ=environ)
    raise NoServerToRun("RabbitMQ", "AMQP_URL")


def _given(environ: Mapping[str, str], variable: str) -> GivenServer | None:
    """The server that a setting names, under either of the two names that settings go by."""
    for name in (f"MAILEMENT_{variable}", variable):
        if url := environ.get(name):
            return GivenServer(url=url, variable=name)
    return None


def _both(one: Callable[[], None], other: Callable[[], None]) -> None:
    """Do both at the same time; both come to an end before the first failure is raised."""
    pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="local-server")
    try:
        deeds = [pool.submit(one), pool.submit(other)]
        wait(deeds)
    finally:
        # Also after a Ctrl-C: what is half started could not be stopped.
        pool.shutdown()
    for deed in deeds:
        deed.result()
