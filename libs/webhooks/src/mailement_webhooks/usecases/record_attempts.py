"""Record attempts and what became of their deliveries, in one statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from mailement_common.db.sql import queries_beside
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import AttemptOutcome, Phases, Reason
from mailement_webhooks.ids import DeliveryId

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """What one try came to. `lease_token` proves that the delivery was still ours to try.

    `tries`: those that count against the schedule, with this one if it does. `refusals`: how many of them were refusals,
    the last ones in a row. `next_attempt_in`: seconds; None: the delivery ends with this attempt, delivered or failed.
    """

    delivery_id: DeliveryId
    lease_token: UUID
    outcome: Literal[AttemptOutcome.DELIVERED, AttemptOutcome.FAILED]
    reason: Reason | None
    detail: str | None
    status_code: int | None
    request_head: str | None = field(repr=False)
    response_head: str | None = field(repr=False)
    response_body: str | None = field(repr=False)
    started_at: datetime
    duration_ms: int
    phases: Phases
    tries: int
    refusals: int
    next_attempt_in: float | None


async def record_attempts(executor: Executor, results: Sequence[AttemptResult]) -> Collection[DeliveryId]:
    """The deliveries that were recorded. For the others the lease had ended: they are recorded as interrupted."""
    rows = await executor.fetch(
        SQL["record"],
        [result.delivery_id for result in results],
        [result.lease_token for result in results],
        [result.outcome for result in results],
        [result.reason for result in results],
        [result.detail for result in results],
        [result.status_code for result in results],
        [result.request_head for result in results],
        [result.response_head for result in results],
        [result.response_body for result in results],
        [result.started_at for result in results],
        [result.duration_ms for result in results],
        [result.phases.dns for result in results],
        [result.phases.connect for result in results],
        [result.phases.tls for result in results],
        [result.phases.first_byte for result in results],
        [result.phases.body for result in results],
        [result.tries for result in results],
        [result.refusals for result in results],
        [result.next_attempt_in for result in results],
    )
    return {DeliveryId(row["delivery_id"]) for row in rows}
