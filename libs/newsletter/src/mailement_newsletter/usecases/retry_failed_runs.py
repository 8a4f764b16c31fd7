"""Retry failed runs of a drip: each goes on where it failed, now."""

from __future__ import annotations

from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.ids import DripId
from mailement_newsletter.usecases.drip_rows import Executor, require_drip, transaction

SQL: Final = queries_beside(__file__)

_BATCH: Final = 5_000


async def retry_failed_runs(executor: Executor, brand: BrandId, drip: DripId) -> int:
    """How many go on; whoever is in the drip anew does not. Batch by batch, each a transaction. Raises DripNotFound."""
    await require_drip(executor, brand, drip)
    retried: int = 0
    place = (0, 0)
    while True:
        row = await _retry(executor, drip, place)
        retried += int(row["retried"])
        if row["last_subscriber_id"] is None:
            return retried
        place = (row["last_subscriber_id"], row["last_run_no"])


async def _retry(executor: Executor, drip: DripId, behind: tuple[int, int]) -> asyncpg.Record:
    """A batch, behind a place in the drip's runs."""
    while True:
        try:
            async with transaction(executor) as connection:
                row = await connection.fetchrow(SQL["retry"], drip, *behind, _BATCH)
        except asyncpg.UniqueViolationError:
            # Somebody was enrolled at the same moment; now his new run can be seen, and the failed one stays.
            continue
        assert row is not None
        return row
