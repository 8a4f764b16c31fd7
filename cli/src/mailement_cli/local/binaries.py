"""Where this machine keeps the programs of PostgreSQL and RabbitMQ.

Only the standard library: set-up asks here too, before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST_POSTGRES = 15
OLDEST_RABBITMQ = (3, 10)

_POSTGRES_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Fedora and its kin, from PostgreSQL's own repository
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_RABBITMQ_FOLDERS = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",  # Debian, Ubuntu, Fedora
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/opt/rabbitmq/sbin",
)
_EPMD_PLACES = (
    "/usr/lib/erlang/erts-*/bin/epmd",
    "/usr/lib64/erlang/erts-*/bin/epmd",
    "/usr/local/lib/erlang/erts-*/bin/epmd",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBinaries:
    """A folder that holds `initdb` and `postgres` of one major version."""

    folder: Path
    major: int

    def program(self, name: str) -> Path:
        return self.folder / name


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitmqBinaries:
    """RabbitMQ's own start script (not a distribution's wrapper around it) and Erlang's port mapper."""

    server: Path
    epmd: Path


def find_postgres(environ: Mapping[str, str]) -> PostgresBinaries | None:
    """The newest PostgreSQL that is new enough, those on PATH before others; None if there is none."""
    on_path = shutil.which("postgres", path=environ.get("PATH"))
    folders = [Path(on_path).resolve().parent] if on_path else []
    for folder in (*folders, *_newest_first(_POSTGRES_FOLDERS)):
        if all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres")):
            major = _postgres_major(folder / "postgres")
            if major >= OLDEST_POSTGRES:
                return PostgresBinaries(folder=folder, major=major)
    return None


def find_rabbitmq(environ: Mapping[str, str]) -> RabbitmqBinaries | None:
    """RabbitMQ that is new enough, where it and Erlang are installed; None if there is none."""
    path = environ.get("PATH")
    epmd = shutil.which("epmd", path=path) or next(_existing(_EPMD_PLACES), None)
    if epmd is None or not (shutil.which("erl", path=path)):
        return None
    # What PATH has may be a wrapper that insists on being root or a certain user, so it is asked last.
    on_path = shutil.which("rabbitmq-server", path=path)
    candidates = [folder / "rabbitmq-server" for folder in _newest_first(_RABBITMQ_FOLDERS)]
    if on_path and Path(on_path).resolve().parent.name == "sbin" and not on_path.startswith("/usr/sbin/"):
        candidates.append(Path(on_path).resolve())
    for server in candidates:
        if os.access(server, os.X_OK) and _rabbitmq_is_new_enough(server):
            return RabbitmqBinaries(server=server, epmd=Path(epmd))
    return None


def find_docker(environ: Mapping[str, str], *, patience_seconds: float = 5.0) -> Path | None:
    """The docker command, if an engine answers it; None if not."""
    docker = shutil.which("docker", path=environ.get("PATH"))
    if docker is None:
        return None
    try:
        answer = subprocess.run(
            [docker, "info", "--format", "{{.ServerVersion}}"],
            check=False,
            capture_output=True,
            env=dict(environ),
            timeout=patience_seconds,
        )
    except subprocess.TimeoutExpired:
        return None
    return Path(docker) if answer.returncode == 0 and answer.stdout.strip() else None


def _existing(patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        yield from Path("/").glob(pattern.removeprefix("/"))


def _newest_first(patterns: Iterable[str]) -> list[Path]:
    return sorted(_existing(patterns), key=lambda path: _numbers(str(path)), reverse=True)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", text))


def _postgres_major(postgres: Path) -> int:
    told = subprocess.run([postgres, "--version"], check=False, capture_output=True, text=True)
    return next(iter(_numbers(told.stdout)), 0)


def _rabbitmq_is_new_enough(server: Path) -> bool:
    """Judged by the folder's name; a folder that names no version is taken at its word."""
    named = re.search(r"rabbitmq(?:_server)?[-/](\d+)\.(\d+)", str(server.resolve()))
    return named is None or (int(named[1]), int(named[2])) >= OLDEST_RABBITMQ
