from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from mailement_common.db.checks import database_checks
from mailement_common.db.migrate import (
    Migration,
    MigrationRefused,
    migrate,
    missing_migrations,
    read_migrations,
)
from mailement_common.db.pool import open_pool
from mailement_common.settings import DatabaseSettings
from mailement_newsletter.schema import MIGRATIONS
from tests.support.database import database_url, server_url

ONE = Migration(number=1, name="0001_one", sql="CREATE TABLE one (id int PRIMARY KEY)")
TWO = Migration(number=2, name="0002_two", sql="CREATE TABLE two (id int); INSERT INTO one VALUES (1)")


@pytest.fixture
async def empty() -> AsyncIterator[str]:
    """The URL of a database without any table."""
    name = f"test_{uuid4().hex}"
    server = await asyncpg.connect(server_url())
    await server.execute(f'CREATE DATABASE "{name}"')
    yield database_url(name)
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await server.close()


async def _migrate(url: str, migrations: list[Migration]) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [applied.name for applied in await migrate(connection, migrations)]
    finally:
        await connection.close()


async def _tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {row["tablename"] for row in rows}
    finally:
        await connection.close()


async def test_from_five_places_at_once_each_migration_is_applied_once(empty: str) -> None:
    migrations = read_migrations(MIGRATIONS)

    results = await asyncio.gather(*(_migrate(empty, migrations) for _ in range(5)))

    assert sorted(len(applied) for applied in results) == [0, 0, 0, 0, len(migrations)]


async def test_only_what_is_missing_is_applied(empty: str) -> None:
    assert await _migrate(empty, [ONE]) == ["0001_one"]
    assert await _migrate(empty, [ONE, TWO]) == ["0002_two"]
    assert await _migrate(empty, [ONE, TWO]) == []


async def test_a_file_that_was_edited_is_refused_and_nothing_else_is_done(empty: str) -> None:
    await _migrate(empty, [ONE])

    with pytest.raises(MigrationRefused, match="0001_one was edited"):
        await _migrate(empty, [replace(ONE, sql=ONE.sql + " "), TWO])

    assert "two" not in await _tables(empty)


async def test_a_migration_that_fails_leaves_nothing_and_lets_others_in(empty: str) -> None:
    fails = replace(TWO, sql="CREATE TABLE two (id int); SELECT 1 / 0")

    with pytest.raises(MigrationRefused, match="0002_two was refused and was undone: division by zero"):
        await _migrate(empty, [ONE, fails])

    assert await _tables(empty) == {"one", "schema_migrations"}
    assert await _migrate(empty, [ONE, TWO]) == ["0002_two"]


async def test_an_index_is_built_beside_the_work_and_one_that_was_cut_off_is_built_again(empty: str) -> None:
    index = Migration(
        number=3,
        name="0003_index",
        sql="""DROP INDEX CONCURRENTLY IF EXISTS one_id;
        CREATE UNIQUE INDEX CONCURRENTLY one_id ON one ((id % 2));""",
    )
    await _migrate(empty, [ONE, TWO])
    connection = await asyncpg.connect(empty)
    await connection.execute("INSERT INTO one VALUES (3)")
    with pytest.raises(MigrationRefused, match="0003_index was refused and stopped halfway"):
        await _migrate(empty, [ONE, TWO, index])
    await connection.execute("DELETE FROM one WHERE id = 3")
    assert await _migrate(empty, [ONE, TWO, index]) == ["0003_index"]
    assert await connection.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'one_id'::regclass")
    await connection.close()


async def test_a_database_ahead_of_this_build_is_fine(empty: str) -> None:
    await _migrate(empty, [ONE, TWO])

    assert await _migrate(empty, [ONE]) == []
    pool = await open_pool(DatabaseSettings(database_url=empty), name="test", size=1)
    assert await missing_migrations(pool, [ONE]) == []
    pool.terminate()


async def test_the_check_of_the_schema_tells_what_is_missing(empty: str) -> None:
    pool = await open_pool(DatabaseSettings(database_url=empty), name="test", size=1)
    try:
        checks = database_checks(pool, MIGRATIONS)
        number = len(read_migrations(MIGRATIONS))
        before = await checks["schema"].run()
        await _migrate(empty, read_migrations(MIGRATIONS))
        after = await checks["schema"].run()
        answers = await checks["database"].run()
    finally:
        pool.terminate()

    assert (before.ok, before.detail) == (False, f"{number} migrations missing: run `mailement migrate`")
    assert after.ok
    assert answers.ok


@pytest.mark.parametrize(
    "names", [["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["0001_a.sql", "0001_b.sql"]]
)
def test_a_gap_or_a_double_number_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")

    with pytest.raises(MigrationRefused):
        read_migrations(tmp_path)
