"""Everything on this machine: both servers, the schema, the bus, and the settings that the services will read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click

from mailement_cli.local.interrupts import held_back, taken_as_ctrl_c
from mailement_cli.local.ports import free_port
from mailement_cli.local.servers import LocalServers, start_servers
from mailement_common.sealing import new_key

_LOOPBACK: Final = "127.0.0.0/8,::1/128"
# Handed to `./mailement`, so that an operator's command finds this stack.
_HANDED_ON: Final = (
    "DATABASE_URL",
    "AMQP_URL",
    "MAILEMENT_SECRET_KEYS",
    "MAILEMENT_WEBHOOK_ALLOW_CIDRS",
    "MAILEMENT_PUBLIC_URL",
)


@contextmanager
def local_stack(folder: Path, settings: Callable[[], Mapping[str, str]]) -> Iterator[LocalServers]:
    """Runs both servers and sets the environment for the services; what the environment has already said stands.

    `settings` is asked once the servers run, which takes long enough for a port to be taken by somebody else.
    From the first server's start to the last one's end, SIGINT and SIGTERM raise KeyboardInterrupt; while servers
    start or stop, only after that. Raises LocalServerError.
    """
    environ = os.environ  # noqa: TID251  the services of this process will read it
    click.echo("starting PostgreSQL and RabbitMQ …")
    with taken_as_ctrl_c(), ExitStack() as at_the_end:
        with held_back():
            servers = start_servers(folder, durable=True)
            at_the_end.callback(_stop, folder, servers)
        click.echo(f"  {servers.describe()}")
        defaults = {
            **settings(),
            "DATABASE_URL": servers.database_url,
            "AMQP_URL": servers.amqp_url,
            "MAILEMENT_SECRET_KEYS": _secret_keys(folder),
            "MAILEMENT_WEBHOOK_ALLOW_CIDRS": _LOOPBACK,
            "MAILEMENT_OPS_PORT": "0",
        }
        for name, value in defaults.items():
            environ.setdefault(name, value)
        _hand_on(folder, {name: environ[name] for name in _HANDED_ON if name in environ})
        yield servers


def _stop(folder: Path, servers: LocalServers) -> None:
    with held_back():
        (folder / "env").unlink(missing_ok=True)
        click.echo("stopping PostgreSQL and RabbitMQ …")
        servers.stop()


def usual_or_free_port(usual: int) -> int:
    """The usual port, unless somebody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", usual))
        except OSError:
            return free_port()
    return usual


def _secret_keys(folder: Path) -> str:
    path = folder / "secret_keys"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(new_key("local"), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _hand_on(folder: Path, values: Mapping[str, str]) -> None:
    path = folder / "env"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
