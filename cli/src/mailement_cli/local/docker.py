"""The two servers as containers of the Docker engine on this machine, where there is no other way to them."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mailement_cli.local.errors import ServerDidNotStart
from mailement_cli.local.folders import folder_tag
from mailement_cli.local.ports import free_port
from mailement_cli.local.rabbitmq import speaks_amqp

POSTGRES_IMAGE = "postgres:17"
RABBITMQ_IMAGE = "rabbitmq:4-management"

# The first start may have to fetch the image.
_START_SECONDS = 300.0
_NAME = "mailement"
# Protocol 3.0, user and database, as a client opens; the length counts itself.
_OPENING = b"\x00\x03\x00\x00user\x00mailement\x00database\x00mailement\x00\x00"
_STARTUP = (len(_OPENING) + 4).to_bytes(4) + _OPENING
_ASKS_FOR_PASSWORD = b"R"
_FAST = [
    word for name in ("fsync", "synchronous_commit", "full_page_writes") for word in ("-c", f"{name}=off")
]


class _Container:
    """One container, whose name and volume belong to its folder; its port stays the same."""

    name = "the server"

    def __init__(self, folder: Path, *, docker: Path, environ: Mapping[str, str]) -> None:
        self._docker = docker
        self._environ = environ
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._container = f"mailement-{folder_tag(self._folder)}-{self.name.lower()}"
        self._port: int | None = None

    @property
    def port(self) -> int:
        if self._port is None:
            raise RuntimeError("the server has no address before its first start")
        return self._port

    def describe(self) -> str:
        return f"{self.name} in the container {self._container} on port {self._port}"

    def stop(self) -> None:
        """Stop in order. Nothing happens if it does not run."""
        self._call(["stop", "--time", "20", self._container], check=False)
        self._remove()

    def kill(self) -> None:
        """End the server by SIGKILL, as a crash would."""
        self._remove()

    def discard(self) -> None:
        """Kill the server and remove its data."""
        self._remove()
        self._call(["volume", "rm", "--force", self._container], check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(
        self, image: str, options: Sequence[str], command: Sequence[str], is_ready: Callable[[int], bool]
    ) -> None:
        # A container of this name is what a crashed run has left.
        self._remove()
        self._port = self._port or free_port()
        self._call(["run", "--rm", "--detach", "--name", self._container, *options, image, *command])
        deadline = time.monotonic() + _START_SECONDS
        while not is_ready(self._port):
            if not self._call(["ps", "--quiet", "--filter", f"name=^{self._container}$"]).strip():
                raise ServerDidNotStart(self.name, "its container ended", "")
            if time.monotonic() > deadline:
                told = self._call(["logs", "--tail", "15", self._container], check=False)
                self._remove()
                raise ServerDidNotStart(self.name, f"it was not ready within {_START_SECONDS:.0f} s", told)
            time.sleep(0.1)

    def _remove(self) -> None:
        self._call(["rm", "--force", self._container], check=False)

    def _call(self, words: Sequence[str], *, check: bool = True) -> str:
        done = subprocess.run(
            [self._docker, *words],
            check=False,
            env=dict(self._environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Docker's client would pass a Ctrl-C of the terminal on.
            start_new_session=True,
        )
        if check and done.returncode != 0:
            raise ServerDidNotStart(self.name, f"docker {words[0]} failed", done.stdout)
        return done.stdout


class DockerPostgres(_Container):
    """One PostgreSQL container; it keeps its port and its data across `stop`, `kill` and `start`."""

    name = "PostgreSQL"

    def __init__(self, folder: Path, *, durable: bool, docker: Path, environ: Mapping[str, str]) -> None:
        super().__init__(folder, docker=docker, environ=environ)
        self._durable = durable

    @property
    def url(self) -> str:
        return f"postgresql://{_NAME}:{self._password()}@127.0.0.1:{self.port}/{_NAME}"

    def start(self) -> None:
        """Start and wait until connections are taken. Raises ServerDidNotStart."""
        self._port = self._port or free_port()
        settings = {"POSTGRES_USER": _NAME, "POSTGRES_DB": _NAME, "POSTGRES_PASSWORD": self._password()}
        options = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
        options += ["--publish", f"127.0.0.1:{self._port}:5432"]
        options += ["--volume", f"{self._container}:/var/lib/postgresql/data"]
        command = ["-c", "max_connections=200", *([] if self._durable else _FAST)]
        self._run(POSTGRES_IMAGE, options, command, speaks_postgres)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _password(self) -> str:
        kept = self._folder / "password"
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(f"{secrets.token_hex(16)}\n")
        return kept.read_text().strip()


class DockerRabbitmq(_Container):
    """One RabbitMQ container; it keeps its port and its data across `stop`, `kill` and `start`."""

    name = "RabbitMQ"

    @property
    def url(self) -> str:
        # From outside its container RabbitMQ refuses `guest`, so the user has our name.
        return f"amqp://{_NAME}:{_NAME}@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start and wait until AMQP is spoken. Raises ServerDidNotStart."""
        self._port = self._port or free_port()
        # The data belong to a node, and a node is named after its host.
        options = ["--hostname", _NAME, "--publish", f"127.0.0.1:{self._port}:5672"]
        options += ["--env", f"RABBITMQ_DEFAULT_USER={_NAME}", "--env", f"RABBITMQ_DEFAULT_PASS={_NAME}"]
        options += ["--volume", f"{self._container}:/var/lib/rabbitmq"]
        self._run(RABBITMQ_IMAGE, options, [], speaks_amqp)

    def restart(self) -> None:
        self.stop()
        self.start()


def speaks_postgres(port: int) -> bool:
    """Whether a PostgreSQL on this loopback port takes clients; one that still recovers does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as client:
            client.settimeout(2.0)
            client.sendall(_STARTUP)
            return client.recv(1) == _ASKS_FOR_PASSWORD
    except OSError:
        return False
