"""What a piece of work has cost until now: CPU seconds from /proc, statements from pg_stat_statements."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from mailement_cli.local.servers import LocalServers
from mailement_common.settings import DatabaseSettings

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Counts up. `statements` includes BEGIN and COMMIT; None where the server cannot count them."""

    sender_cpu: float
    database_cpu: float
    statements: int | None


class Meter:
    """Reads the costs through a connection whose own statements are not counted."""

    def __init__(self, connection: asyncpg.Connection, *, postmaster: int, counts_statements: bool) -> None:
        self._connection = connection
        self._postmaster = postmaster
        self._counts_statements = counts_statements

    async def read(self, sender: int) -> Costs:
        """`sender`: the pid of the process that is measured."""
        return Costs(
            sender_cpu=cpu_seconds(sender),
            database_cpu=_family_cpu_seconds(self._postmaster),
            statements=await self._statements(),
        )

    async def _statements(self) -> int | None:
        if not self._counts_statements:
            return None
        counted: int = await self._connection.fetchval(
            """SELECT coalesce(sum(s.calls), 0)::bigint FROM pg_stat_statements AS s
            INNER JOIN pg_database AS d ON s.dbid = d.oid WHERE d.datname = current_database()"""
        )
        return counted


async def load_statement_counter(servers: LocalServers, settings: DatabaseSettings) -> bool:
    """Has a private server count statements, which needs a restart; False where it lacks the extension."""
    connection = await asyncpg.connect(settings.database_dsn)
    there = await connection.fetchval(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
    )
    if there:
        await connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    await connection.close()
    if there:
        servers.database.restart()
    return bool(there)


async def new_meter(connection: asyncpg.Connection, *, counts_statements: bool) -> Meter:
    if counts_statements:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        await connection.execute("SET pg_stat_statements.track = 'none'")
    backend: int = await connection.fetchval("SELECT pg_backend_pid()")
    return Meter(connection, postmaster=_parent(backend), counts_statements=counts_statements)


def cpu_seconds(pid: int) -> float:
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _family_cpu_seconds(pid: int) -> float:
    """Of a process, of the children that run, and of those that have ended."""
    own = sum(int(ticks) for ticks in _stat(pid)[11:15]) / os.sysconf("SC_CLK_TCK")
    return own + sum(
        _cpu_of_child(int(entry.name), pid) for entry in _PROC.iterdir() if entry.name.isdecimal()
    )


def _cpu_of_child(pid: int, parent: int) -> float:
    try:
        return cpu_seconds(pid) if _parent(pid) == parent else 0.0
    except FileNotFoundError:
        return 0.0


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _stat(pid: int) -> list[str]:
    """The fields behind the program's name, which may hold anything."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
