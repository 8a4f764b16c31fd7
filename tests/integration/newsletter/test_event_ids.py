"""Event ids are computed in two places, which have to agree for ever."""

from __future__ import annotations

import pytest

from mailement_common.ids import event_id
from tests.support.database import Database

BIGGEST_ID = 2**63 - 1
BIGGEST_VERSION = 2**31 - 1


@pytest.mark.parametrize("kind", ["subscriber", "enrollment", "message", "é"])
@pytest.mark.parametrize(("row_id", "version"), [(1, 1), (41023, 2), (BIGGEST_ID, BIGGEST_VERSION)])
async def test_database_and_code_make_the_same_event_id(
    database: Database, kind: str, row_id: int, version: int
) -> None:
    made = await database.pool.fetchval("SELECT event_id($1, $2, $3)", kind, row_id, version)
    assert made == event_id(kind, row_id, version)
