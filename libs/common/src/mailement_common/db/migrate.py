"""Forward-only migrations: numbered `.sql` files, each applied once, in order, in a transaction of its own.

One that builds an index `CONCURRENTLY` cannot be: its statements run one by one, and are such that they can be repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

# "mailement" in ASCII, cut to a bigint: the lock that replicas take turns with.
_LOCK: Final = 0x6D61696C656D656E
_POLL_SECONDS: Final = 0.3
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number int PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""


class MigrationRefused(Exception):
    """The migrations cannot be applied as they are; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def is_concurrent(self) -> bool:
        return " CONCURRENTLY " in self.sql

    @property
    def statements(self) -> list[str]:
        """One by one; in such a migration no semicolon stands within a statement."""
        return [text for text in self.sql.split(";") if text.strip()]


def read_migrations(folder: Path) -> list[Migration]:
    """All `NNNN_name.sql` of a folder, in order. Raises MigrationRefused on a gap or a double number."""
    found = [
        Migration(number=int(path.stem[:4]), name=path.stem, sql=path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationRefused("the migrations are not numbered 1, 2, 3, …")
    return found


async def migrate(connection: asyncpg.Connection, migrations: list[Migration]) -> list[Migration]:
    """Applies what is missing and returns it; safe to run from many replicas at once.

    Raises MigrationRefused if an applied file was edited since, or if the database will not take one.
    """
    await _take_turn(connection)
    try:
        await connection.execute(_LEDGER)
        applied = {
            row["number"]: row["checksum"]
            for row in await connection.fetch("SELECT number, checksum FROM schema_migrations")
        }
        _refuse_edited(migrations, applied)
        missing = [migration for migration in migrations if migration.number not in applied]
        for migration in missing:
            try:
                await _apply(connection, migration)
            except asyncpg.PostgresError as error:
                remains = "stopped halfway and can be repeated" if migration.is_concurrent else "was undone"
                raise MigrationRefused(f"{migration.name} was refused and {remains}: {error}") from error
        return missing
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def missing_migrations(pool: asyncpg.Pool, migrations: list[Migration]) -> list[Migration]:
    """What the database lacks. A database ahead of this build lacks nothing: the previous release must run on it."""
    try:
        rows = await pool.fetch("SELECT number FROM schema_migrations")
    except asyncpg.UndefinedTableError:
        return migrations
    applied = {row["number"] for row in rows}
    return [migration for migration in migrations if migration.number not in applied]


async def _take_turn(connection: asyncpg.Connection) -> None:
    # Polled, never waited for: a blocked pg_advisory_lock() holds a snapshot, which
    # CREATE INDEX CONCURRENTLY in the other replica would wait for in turn.
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        await asyncio.sleep(_POLL_SECONDS)


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    if migration.is_concurrent:
        for statement in migration.statements:
            await connection.execute(statement)
        await _note(connection, migration)
        return
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        await connection.execute(migration.sql)
        await _note(connection, migration)


async def _note(connection: asyncpg.Connection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
        migration.number,
        migration.name,
        migration.checksum,
    )


def _refuse_edited(migrations: list[Migration], applied: dict[int, str]) -> None:
    for migration in migrations:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise MigrationRefused(f"{migration.name} was edited after it had been applied")
