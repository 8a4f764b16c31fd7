"""Archive a drip: for good. Nothing of it runs any more, its waiting mails are not sent, its history stays."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import DripNotFound
from mailement_newsletter.ids import DripId
from mailement_newsletter.usecases.drip_rows import Executor

SQL: Final = queries_beside(__file__)


async def archive_drip(executor: Executor, brand: BrandId, drip: DripId) -> None:
    """At once; repeating it changes nothing. Raises DripNotFound."""
    if await executor.fetchval(SQL["archive"], drip, brand) is None:
        raise DripNotFound
