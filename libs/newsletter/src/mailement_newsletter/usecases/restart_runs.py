"""Restart runs: they end, because their subscribers begin the same drips anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_newsletter.ids import RunId
from mailement_newsletter.usecases.cancel_mails_of_runs import cancel_mails_of_runs, ended_run

SQL: Final = queries_beside(__file__)


async def restart_runs(connection: Connection, runs: Sequence[RunId], *, now: datetime | None = None) -> None:
    """Within the caller's transaction, which begins the new runs next; what the old ones had queued is cancelled.

    `now`: when they end; None: by the database's clock.
    """
    if runs:
        ended = await connection.fetch(SQL["restart"], runs, now)
        await cancel_mails_of_runs(connection, [ended_run(row) for row in ended])
