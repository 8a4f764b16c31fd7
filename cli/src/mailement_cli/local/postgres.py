"""A PostgreSQL of our own, on the loopback, in a folder of ours."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mailement_cli.local.binaries import PostgresBinaries, find_postgres
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

_NAME = "mailement"  # of the superuser and of the database
_START_SECONDS = 60.0
# SIGINT closes connections and writes a checkpoint; SIGQUIT leaves the tidying to the next start.
_STOP: Escalation = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may have 107 bytes, and a clone may lie deep
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}
_DURABLE = {"shared_buffers": "256MB"}
_THROWAWAY = {
    "shared_buffers": "128MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Servant:
    """Whom PostgreSQL runs as where we are root, which it refuses to be."""

    uid: int
    gid: int


class PrivatePostgres:
    """One PostgreSQL server; it keeps its port and its data across `stop`, `kill` and `start`.

    `durable` says whether what is committed must survive a crash of the machine; without it the
    server is fast and its data good for tests only. `home` is where data and password lie: in the
    folder, or in /var/tmp where the user whom the server runs as cannot reach the folder.
    """

    name = "PostgreSQL"

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool,
        binaries: PostgresBinaries | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        inherited = process_environment() if environ is None else environ
        found = binaries or find_postgres(inherited)
        if found is None:
            raise NoServerToRun(self.name, "DATABASE_URL")
        self._binaries = found
        self._environ = {name: value for name, value in inherited.items() if not name.startswith("PG")}
        self._environ["LC_ALL"] = "C"
        self._settings = _SETTINGS | (_DURABLE if durable else _THROWAWAY)
        self._durable = durable
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._record = ProcessRecord(path=self._folder / "running.json")
        self._servant = _servant() if os.geteuid() == 0 else None
        self.home = _home(self._folder, self._servant)
        self._data = self.home / "data"
        self._port: int | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self._folder / "log"

    @property
    def url(self) -> str:
        """Where the database `mailement` is, its superuser's password included."""
        if self._port is None:
            raise RuntimeError("the server has no address before its first start")
        password = (self.home / "password").read_text().strip()
        return f"postgresql://{_NAME}:{password}@127.0.0.1:{self._port}/{_NAME}"

    def describe(self) -> str:
        elsewhere = "" if self.home.is_relative_to(self._folder) else f", data in {self.home}"
        return f"PostgreSQL {self._binaries.major} of our own on port {self._port}{elsewhere}"

    def start(self) -> None:
        """Start, after ending what a crashed run has left, and wait until connections are taken.

        Nothing happens if it runs. Raises ServerDidNotStart with the end of the log.
        """
        if self._server is not None and self._server.poll() is None:
            return
        self._end_left_over()
        if not self._data.exists():
            self._initialise()
        # Whoever wrote it does not run any more, and its pid may by now be somebody else's.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self._port = self._port or free_port()
        settings = self._settings | {"port": str(self._port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._server = self._spawn(["postgres", "-D", str(self._data), *options], log.fileno())
        self._record.write(filter(None, [find_process(self._server.pid)]))
        self._wait_until_ready(self._server)

    def stop(self) -> None:
        """Stop in order, or ever less so if that takes too long. Nothing happens if it does not run."""
        self._end(_STOP)

    def kill(self) -> None:
        """End the server and all its backends by SIGKILL, as a crash would."""
        self._end(AT_ONCE)

    def restart(self) -> None:
        self.stop()
        self.start()

    def discard(self) -> None:
        """Kill the server and remove its data."""
        self._end_left_over()
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, escalation: Escalation) -> None:
        if self._server is None:
            return
        running = find_process(self._server.pid)
        if running is not None:
            # Backends live a moment longer than their postmaster, with the data folder open.
            backends = children(running)
            end([running], escalation)
            end([*backends, *working_in(self._data, "postgres")], AT_ONCE)
        self._server.wait()
        self._server = None
        self._record.clear()

    def _end_left_over(self) -> None:
        if self._server is None:
            end(self._record.left_over(), _STOP)
            end(working_in(self._data, "postgres"), AT_ONCE)
            self._record.clear()
        else:
            self._end(AT_ONCE)

    def _initialise(self) -> None:
        """Make the data folder under another name first: it is there whole or not at all."""
        draft = self.home / "data.draft"
        shutil.rmtree(draft, ignore_errors=True)
        password = self.home / "password"
        password.touch(mode=0o600)
        password.write_text(f"{secrets.token_hex(16)}\n")
        if self._servant is not None:
            os.chown(password, self._servant.uid, self._servant.gid)
        sync = [] if self._durable else ["--no-sync"]
        locale = ["--encoding=UTF8", "--locale=C"]
        access = [f"--username={_NAME}", "--auth=scram-sha-256", f"--pwfile={password}"]
        self._run(["initdb", "-D", str(draft), *locale, *access, *sync])
        # A server of a single user takes statements from its input and ends with it.
        fsync = "on" if self._durable else "off"
        alone = ["postgres", "--single", "-c", f"fsync={fsync}", "-D", str(draft), "postgres"]
        self._run(alone, b"CREATE DATABASE mailement\n")
        draft.rename(self._data)

    def _run(self, command: list[str], statements: bytes | None = None) -> None:
        with self.log.open("ab") as log:
            process = self._spawn(command, log.fileno(), wants_input=statements is not None)
            process.communicate(statements)
        if process.returncode != 0:
            raise ServerDidNotStart(self.name, f"{command[0]} failed", tail(self.log))

    def _spawn(self, command: list[str], log: int, *, wants_input: bool = False) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._binaries.program(command[0]), *command[1:]],
            cwd=self.home,
            env=self._environ,
            stdin=subprocess.PIPE if wants_input else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Out of the terminal's reach: its Ctrl-C is for us, and we stop the server after its clients.
            start_new_session=True,
            user=self._servant.uid if self._servant else None,
            group=self._servant.gid if self._servant else None,
            extra_groups=[] if self._servant else None,
            umask=0o077,
        )

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._takes_connections():
            if server.poll() is not None:
                raise ServerDidNotStart(self.name, f"it ended with {server.returncode}", tail(self.log))
            if time.monotonic() > deadline:
                self.kill()
                reason = f"it was not ready within {_START_SECONDS:.0f} s"
                raise ServerDidNotStart(self.name, reason, tail(self.log))
            time.sleep(0.02)

    def _takes_connections(self) -> bool:
        """The eighth line of postmaster.pid is the server's own word on it."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"


def _servant() -> _Servant:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Servant(uid=entry.pw_uid, gid=entry.pw_gid)
    raise ServerDidNotStart(
        "PostgreSQL", "it must not run as root, and there is no user `postgres` or `nobody`", ""
    )


def _home(folder: Path, servant: _Servant | None) -> Path:
    """A folder that only the server's user can open, in `folder` if that user can get there."""
    if servant is None:
        return folder
    home = folder / "home"
    if not _reaches(servant, folder):
        # Its owner and mode are looked at below; the link is for people and for `make clean`.
        home = Path("/var/tmp") / f"mailement-{folder_tag(folder)}"  # noqa: S108
        if not os.path.lexists(folder / "home"):
            (folder / "home").symlink_to(home)
    if not os.path.lexists(home):
        home.mkdir(mode=0o700)
        os.chown(home, servant.uid, servant.gid)
    found = home.lstat()
    if not home.is_dir() or home.is_symlink() or found.st_uid != servant.uid or found.st_mode & 0o077:
        raise ServerDidNotStart("PostgreSQL", f"{home} is not a folder of its user's alone", "")
    return home


def _reaches(servant: _Servant, folder: Path) -> bool:
    tried = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", folder],
        check=False,
        cwd="/",
        stderr=subprocess.DEVNULL,
        user=servant.uid,
        group=servant.gid,
        extra_groups=[],
    )
    return tried.returncode == 0
