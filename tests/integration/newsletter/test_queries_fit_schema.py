"""Every named query of every package is one that the real schema understands."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailement_common.db.sql import NamedQueries
from tests.support.database import Database

ROOT = Path(__file__).parents[3]
FILES = sorted(
    file
    for member in ("libs/*", "services/*", "cli")
    for file in ROOT.glob(f"{member}/src/**/*.sql")
    if file.parent.name != "migrations"
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)).partition("src/")[2])
async def test_every_query_of_the_file_can_be_prepared(database: Database, file: Path) -> None:
    queries = NamedQueries(file)
    assert queries
    async with database.pool.acquire() as connection:
        for name, query in queries.items():
            try:
                await connection.prepare(query)
            except Exception as error:
                error.add_note(f"in {name}")
                raise
