"""Show a run: who, where in the drip, and all that has happened, in the order of time."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import RunNotFound
from mailement_newsletter.ids import RunId, StepId
from mailement_newsletter.rules.drip_definition import StepKind
from mailement_newsletter.rules.drip_runs import RunEvent, RunMail, RunReport, RunStep
from mailement_newsletter.usecases.drip_rows import Executor
from mailement_newsletter.usecases.run_rows import load_runs

SQL: Final = queries_beside(__file__)


async def show_run(executor: Executor, brand: BrandId, run: RunId) -> RunReport:
    """Raises RunNotFound."""
    row = await executor.fetchrow(SQL["run"], brand, run)
    if row is None:
        raise RunNotFound
    (found,) = await load_runs(executor, [run])
    steps = [
        RunStep(
            id=StepId(step["id"]),
            position=step["position"],
            kind=StepKind(step["kind"]),
            label=step["label"],
            subject=step["subject"],
            delay=step["delay"],
            deleted_at=step["deleted_at"],
            then=step["then_step"],
            otherwise=step["otherwise_step"],
        )
        for step in await executor.fetch(SQL["steps"], row["drip_id"])
    ]
    mails = await executor.fetch(SQL["mails"], [f"drip:{run}:{step.id}" for step in steps])
    events = await executor.fetch(SQL["events"], run)
    return RunReport(
        run=found,
        cursor_pos=row["cursor_pos"],
        anchor_at=row["anchor_at"],
        email=row["email"],
        status=row["status"],
        timezone=row["timezone"],
        steps=steps,
        mails=[
            RunMail(
                message_id=mail["id"],
                step_id=StepId(mail["drip_step_id"]),
                **{name: mail[name] for name in RunMail.__dataclass_fields__ if name in mail.keys()},  # noqa: SIM118
            )
            for mail in mails
        ],
        events=[
            RunEvent(
                step_id=None if event["step_id"] is None else StepId(event["step_id"]),
                kind=event["kind"],
                detail=event["detail"],
                at=event["at"],
            )
            for event in events
        ],
    )
