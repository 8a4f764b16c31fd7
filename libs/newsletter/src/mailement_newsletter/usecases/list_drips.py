"""List drips, in pages, the oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.ids import DripId
from mailement_newsletter.rules.drip_definition import DripState, DripTrigger
from mailement_newsletter.usecases.drip_rows import Executor, Numbers, load_numbers

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DripSummary:
    """`starts_by`: the topic, event or field that its trigger looks at."""

    id: DripId
    name: str
    state: DripState
    trigger: DripTrigger
    starts_by: str | None
    steps: int
    version: int
    numbers: Numbers
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DripPage:
    """`cursor`: the id behind which the next page begins; None: this is the last."""

    drips: Sequence[DripSummary]
    cursor: DripId | None


async def list_drips(
    executor: Executor,
    brand: BrandId,
    *,
    state: DripState | None = None,
    after: DripId | None = None,
    limit: int = 50,
) -> DripPage:
    rows = await executor.fetch(SQL["page"], brand, state, after or 0, limit + 1)
    shown = rows[:limit]
    numbers = await load_numbers(executor, [DripId(row["id"]) for row in shown])
    drips = [
        DripSummary(
            **{
                **dict(row),
                "state": DripState(row["state"]),
                "trigger": DripTrigger(row["trigger"]),
                "numbers": numbers[DripId(row["id"])],
            }
        )
        for row in shown
    ]
    return DripPage(drips=drips, cursor=drips[-1].id if len(rows) > limit else None)
