"""Cancel mails of runs: what a run had queued when it was ended does not leave any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import SubscriberId
from mailement_newsletter.ids import RunId

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """`reason`: why, as the mail ledger keeps it: `drip_goal`, `drip_restarted`, …"""

    id: RunId
    subscriber_id: SubscriberId
    reason: str


async def cancel_mails_of_runs(connection: Connection, runs: Sequence[EndedRun]) -> None:
    """In the transaction that has ended the runs."""
    if runs:
        await connection.execute(
            SQL["cancel"],
            [run.id for run in runs],
            [run.subscriber_id for run in runs],
            [run.reason for run in runs],
        )


def ended_run(row: asyncpg.Record) -> EndedRun:
    """Of a statement that answers with `id`, `subscriber_id` and `reason`."""
    return EndedRun(
        id=RunId(row["id"]), subscriber_id=SubscriberId(row["subscriber_id"]), reason=row["reason"]
    )
