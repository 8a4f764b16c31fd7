"""Exit a run: take somebody out of one drip. What has ended stays as it ended, but for what failed."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.errors import RunNotFound
from mailement_newsletter.ids import RunId
from mailement_newsletter.usecases.drip_rows import Executor, transaction
from mailement_newsletter.usecases.end_runs import Farewell, end_runs

SQL: Final = queries_beside(__file__)


async def exit_run(executor: Executor, brand: BrandId, run: RunId) -> bool:
    """Whether it was at work, or failed, until now; what it had queued is cancelled. Raises RunNotFound."""
    async with transaction(executor) as connection:
        subscriber = await connection.fetchval(SQL["subscriber"], brand, run)
        if subscriber is None:
            raise RunNotFound
        farewell = Farewell(
            happened_at=None, brand_id=brand, subscriber_id=SubscriberId(subscriber), run_id=run
        )
        return bool(await end_runs(connection, [farewell]))
