"""Explain a run: why this person got each step of the drip, or did not, or not yet."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import RunNotFound
from mailement_newsletter.ids import RunId
from mailement_newsletter.rules.drip_definition import CatchUp, DripState
from mailement_newsletter.rules.drip_explanations import RunExplanation, RunFacts, explain, moments_of
from mailement_newsletter.usecases.drip_rows import Executor
from mailement_newsletter.usecases.show_run import show_run

SQL: Final = queries_beside(__file__)


async def explain_run(executor: Executor, brand: BrandId, run: RunId, *, now: datetime) -> RunExplanation:
    """Raises RunNotFound."""
    report = await show_run(executor, brand, run)
    drip = await executor.fetchrow(SQL["drip"], report.run.drip_id)
    if drip is None:
        raise RunNotFound
    moments = sorted(moments_of(report))
    local = await executor.fetch(SQL["local"], moments, report.timezone)
    return explain(
        RunFacts(
            report=report,
            drip_state=DripState(drip["state"]),
            catch_up=CatchUp(drip["catch_up"]),
            skip_due_before=drip["skip_due_before"],
            paced_until=drip["paced_until"],
            local={moment: row["local"] for moment, row in zip(moments, local, strict=True)},
            now=now,
        )
    )
