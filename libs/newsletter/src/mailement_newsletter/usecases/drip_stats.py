"""The numbers of a drip: a funnel, step by step. From the tallies: it costs the same, however many were in the drip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailement_common.ids import BrandId
from mailement_newsletter.ids import DripId, StepId
from mailement_newsletter.rules.drip_definition import StepKind, kind_of
from mailement_newsletter.usecases.drip_rows import Executor, Numbers
from mailement_newsletter.usecases.show_drip import StepNumbers, show_drip


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFunnel:
    """`open_rate` and `click_rate` are shares of the mails that were sent; None: none was, or the step sends none."""

    id: StepId
    label: str | None
    kind: StepKind
    numbers: StepNumbers
    open_rate: float | None
    click_rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DripStats:
    """`completion_rate`: of the runs that ended, those that came to the end; None: none has ended."""

    drip_id: DripId
    numbers: Numbers
    completion_rate: float | None
    steps: Sequence[StepFunnel]
    waiting_is_exact: bool


async def drip_stats(executor: Executor, brand: BrandId, drip: DripId) -> DripStats:
    """Raises DripNotFound."""
    report = await show_drip(executor, brand, drip)
    ended = (
        report.numbers.completed + report.numbers.exited + report.numbers.failed + report.numbers.cancelled
    )
    return DripStats(
        drip_id=drip,
        numbers=report.numbers,
        completion_rate=_share(report.numbers.completed, ended),
        steps=[
            StepFunnel(
                id=step.id or StepId(0),
                label=step.label,
                kind=kind_of(step.action),
                numbers=numbers,
                open_rate=_share(numbers.opened, numbers.sent),
                click_rate=_share(numbers.clicked, numbers.sent),
            )
            for step, numbers in zip(report.definition.steps, report.steps, strict=True)
        ],
        waiting_is_exact=report.waiting_is_exact,
    )


def _share(part: int, whole: int) -> float | None:
    return round(min(part / whole, 1.0), 4) if whole else None
