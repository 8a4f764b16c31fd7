"""Make sure that PostgreSQL and RabbitMQ can be had: given, found, installed, or run by Docker."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from mailement_cli.local.binaries import find_docker, find_postgres, find_rabbitmq
from tools.steps import SetupError, say, step
from tools.system_packages import apt_get, can_use_apt, install, no_service_starts

_WHAT_TO_INSTALL = (
    "PostgreSQL (15 or later) and RabbitMQ (3.10 or later) are needed: as servers that DATABASE_URL and "
    "AMQP_URL name, as programs on this machine, or as images of a Docker engine that runs. To install them:\n"
    "  Debian, Ubuntu   apt install postgresql rabbitmq-server\n"
    "  Fedora           dnf install postgresql-server postgresql-contrib rabbitmq-server\n"
    "  macOS            brew install postgresql@17 rabbitmq"
)
_WHAT_THE_BENCH_NEEDS = {
    "pgbench": "Debian, Ubuntu: apt install postgresql; Fedora: dnf install postgresql-contrib",
    "psql": "Debian, Ubuntu: apt install postgresql-client; Fedora: dnf install postgresql",
    "wrk": "Debian, Ubuntu: apt install wrk; macOS: brew install wrk",
}


def have_servers(environ: Mapping[str, str]) -> None:
    """See that both servers can be started, installing Debian's packages if need be.

    Raises SetupError, which says what to install, if there is no way to either of them.
    """
    missing = _missing(environ)
    if missing and can_use_apt(environ):
        with no_service_starts():
            with step("apt-get update"):
                apt_get(["update"], environ)
            with step(f"apt-get install {' '.join(missing)}"):
                install(missing, environ)
        say(
            "Debian may start the new packages' own services at the next boot; `systemctl disable` keeps it from it"
        )
        missing = _missing(environ)
    if not missing:
        return
    if find_docker(environ) is None:
        raise SetupError(_WHAT_TO_INSTALL)
    say(f"Docker will run what is missing here: {', '.join(missing)}")


def have_bench_tools(environ: Mapping[str, str]) -> None:
    """See that `wrk`, `pgbench` and `psql` are there. Raises SetupError with what to install."""
    if shutil.which("wrk", path=environ.get("PATH")) is None and can_use_apt(environ):
        with step("apt-get install wrk"):
            apt_get(["update"], environ)
            install(["wrk"], environ)
    postgres = find_postgres(environ)
    for tool, advice in _WHAT_THE_BENCH_NEEDS.items():
        beside_postgres = postgres is not None and Path(postgres.program(tool)).exists()
        if not beside_postgres and shutil.which(tool, path=environ.get("PATH")) is None:
            raise SetupError(f"the bench needs {tool}. {advice}")


def _missing(environ: Mapping[str, str]) -> list[str]:
    missing = []
    if not _given(environ, "DATABASE_URL") and find_postgres(environ) is None:
        missing.append("postgresql")
    if not _given(environ, "AMQP_URL") and find_rabbitmq(environ) is None:
        missing.append("rabbitmq-server")
    return missing


def _given(environ: Mapping[str, str], variable: str) -> bool:
    return bool(environ.get(f"MAILEMENT_{variable}") or environ.get(variable))
