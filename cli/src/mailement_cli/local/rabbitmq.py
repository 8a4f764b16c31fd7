"""A RabbitMQ of our own, on the loopback, in a folder of ours, without plugins."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mailement_cli.local.binaries import RabbitmqBinaries, find_rabbitmq
from mailement_cli.local.environment import process_environment
from mailement_cli.local.errors import NoServerToRun, ServerDidNotStart
from mailement_cli.local.folders import folder_tag
from mailement_cli.local.logs import tail
from mailement_cli.local.ports import free_port
from mailement_cli.local.processes import (
    AT_ONCE,
    Escalation,
    ProcessRecord,
    children,
    end,
    find_process,
    working_in,
)

_START_SECONDS = 90.0
_STOP: Escalation = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))

_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
disk_free_limit.absolute = 50MB
log.file.level = info
"""
# Erlang's own port for its nodes, which nobody but this machine has business with.
_ERLANG_OPTIONS = "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}"

_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"
_CONNECTION_START = b"\x00\x0a\x00\x0a"


class PrivateRabbitmq:
    """One RabbitMQ server; it keeps its port and its data across `stop`, `kill` and `start`."""

    name = "RabbitMQ"

    def __init__(
        self,
        folder: Path,
        *,
        binaries: RabbitmqBinaries | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        inherited = process_environment() if environ is None else environ
        found = binaries or find_rabbitmq(inherited)
        if found is None:
            raise NoServerToRun(self.name, "AMQP_URL")
        self._binaries = found
        self._inherited = inherited
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._record = ProcessRecord(path=self._folder / "running.json")
        self._port: int | None = None
        self._node_port = 0
        self._mapper_port = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self._folder / "console.log"

    @property
    def url(self) -> str:
        if self._port is None:
            raise RuntimeError("the server has no address before its first start")
        return f"amqp://guest:guest@127.0.0.1:{self._port}/"

    def describe(self) -> str:
        return f"RabbitMQ of our own on port {self._port}"

    def start(self) -> None:
        """Start, after ending what a crashed run has left, and wait until AMQP is spoken.

        Nothing happens if it runs. Raises ServerDidNotStart with the end of the log.
        """
        if self._server is not None and self._server.poll() is None:
            return
        self._end_left_over()
        if self._port is None:
            self._port, self._node_port, self._mapper_port = free_port(), free_port(), free_port()
        self._write_configuration(self._port)
        if self._mapper is None:
            # RabbitMQ would start a port mapper that outlives it; this one is ours to end.
            mapper: list[str | Path] = [
                self._binaries.epmd,
                "-port",
                str(self._mapper_port),
                "-address",
                "127.0.0.1",
            ]
            self._mapper = self._spawn(mapper)
        self._server = self._spawn([self._binaries.server, "-noinput"])
        started = (find_process(self._server.pid), find_process(self._mapper.pid))
        self._record.write(filter(None, started))
        self._wait_until_ready(self._server, self._port)

    def stop(self) -> None:
        """Stop in order, or at once if that takes too long. Nothing happens if it does not run."""
        self._end_server(_STOP)
        self._end_mapper()

    def kill(self) -> None:
        """End the server by SIGKILL, as a crash would. Erlang's port mapper stays for the next start."""
        self._end_server(AT_ONCE)

    def restart(self) -> None:
        self.stop()
        self.start()

    def discard(self) -> None:
        """Kill the server and remove its data."""
        self._end_left_over()
        self.kill()
        self._end_mapper()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end_server(self, escalation: Escalation) -> None:
        if self._server is None:
            return
        running = find_process(self._server.pid)
        if running is not None:
            helpers = children(running)
            end([running], escalation)
            end(helpers, AT_ONCE)
        self._server.wait()
        self._server = None

    def _end_mapper(self) -> None:
        if self._mapper is None:
            return
        end(filter(None, [find_process(self._mapper.pid)]), AT_ONCE)
        self._mapper.wait()
        self._mapper = None
        self._record.clear()

    def _end_left_over(self) -> None:
        if self._mapper is None:
            strays = [*working_in(self._folder, "beam.smp"), *working_in(self._folder, "epmd")]
            end([*self._record.left_over(), *strays], _STOP)
            self._record.clear()
        else:
            self._end_server(AT_ONCE)

    def _write_configuration(self, port: int) -> None:
        (self._folder / "rabbitmq.conf").write_text(_CONFIGURATION.format(port=port))
        (self._folder / "enabled_plugins").write_text("[].\n")
        # Stands in for the machine's /etc/rabbitmq/rabbitmq-env.conf, which is for the machine's own server.
        (self._folder / "rabbitmq-env.conf").write_text("")

    def _environ(self) -> dict[str, str]:
        meant_for_others = ("RABBITMQ_", "ERL_")
        kept = {
            name: value for name, value in self._inherited.items() if not name.startswith(meant_for_others)
        }
        return kept | {
            "HOME": str(self._folder),  # of Erlang's cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_ALLOW_INPUT": "true",  # the script becomes the server instead of watching over it
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "rabbitmq-env.conf"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_NODENAME": f"mailement-{folder_tag(self._folder)}@localhost",
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_OPTIONS,
        }

    def _spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Out of the terminal's reach: its Ctrl-C is for us, and we stop the server after its clients.
                start_new_session=True,
            )

    def _wait_until_ready(self, server: subprocess.Popen[bytes], port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not speaks_amqp(port):
            if server.poll() is not None:
                reason = f"it ended with {server.returncode}"
                self.stop()
                raise ServerDidNotStart(self.name, reason, tail(self.log))
            if time.monotonic() > deadline:
                self.kill()
                self._end_mapper()
                reason = f"it was not ready within {_START_SECONDS:.0f} s"
                raise ServerDidNotStart(self.name, reason, tail(self.log))
            time.sleep(0.05)


def speaks_amqp(port: int) -> bool:
    """Whether a broker on this loopback port greets a client: with Connection.Start, AMQP's first method."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as client:
            client.settimeout(2.0)
            client.sendall(_PROTOCOL_HEADER)
            with client.makefile("rb") as answers:
                greeting = answers.read(11)
    except OSError:
        return False
    return greeting[:1] == _METHOD_FRAME and greeting[7:11] == _CONNECTION_START
