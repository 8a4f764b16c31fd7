"""Warm-ups move on once a day, in the hands of the first mailer that needs the sender on the new day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_newsletter.queries.executor import Executor
from mailement_newsletter.rules.senders import SenderId
from mailement_newsletter.rules.warmup import IDLE_DAYS, WEEK_DAYS, Stage, Warmup, Week, next_stage

SQL: Final = queries_beside(__file__)

_KEPT_DAYS: Final = 2 * IDLE_DAYS


async def advance_warmups(executor: Executor, sender_ids: Sequence[SenderId], today: date) -> None:
    """Sets the stages of these senders for `today` where they are still those of an earlier day.

    Any number of mailers may do so at once: they come to the same stages, and the first one writes them.
    """
    rows = await executor.fetch(SQL["standing"], list(sender_ids), today, WEEK_DAYS)
    stages: dict[int, Stage] = {}
    for row in rows:
        stage = next_stage(
            Warmup(row["warmup"]),
            Stage(day=row["warmup_day"], limit=row["warmup_limit"]),
            used=row["used"],
            idle_days=row["idle_days"],
            week=Week(sent=row["sent"], bounced=row["bounced"], complained=row["complained"]),
        )
        if stage is not None:
            stages[row["id"]] = stage
    if stages:
        await executor.execute(
            SQL["set_stages"],
            list(stages),
            [stage.day for stage in stages.values()],
            [stage.limit for stage in stages.values()],
            today,
        )
        await executor.execute(SQL["forget_days"], today - timedelta(days=_KEPT_DAYS))
