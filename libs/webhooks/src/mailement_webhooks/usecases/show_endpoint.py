"""Show an endpoint, how its deliveries fare, and where the rotation of its secret stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_common.sealing import key_id_of
from mailement_webhooks.database import Executor
from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.errors import EndpointNotFound, RotationStep
from mailement_webhooks.ids import DeliveryId, EndpointId
from mailement_webhooks.rules.health import Health, HoldReason
from mailement_webhooks.secrets import rotation_step
from mailement_webhooks.usecases.list_endpoints import find_endpoint
from mailement_webhooks.usecases.load_endpoints import health_of

SQL: Final = queries_beside(__file__)

# Enough to see how an endpoint fares, and no more than that to count.
_NEWEST: Final = 10_000
_NEWEST_ANSWERS: Final = 2_000
MOST_WAITING_COUNTED: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """`status_code` None: no answer came."""

    delivery_id: DeliveryId
    failed_at: datetime
    reason: Reason
    detail: str | None
    status_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """`key_ids`: what the stored secrets are sealed with. The other two count the attempts since the promotion among the
    newest 2,000 deliveries: many refused (401, 403) say that the receiver still uses the previous secret.
    """

    step: RotationStep
    key_ids: tuple[str, ...]
    attempts_since_promotion: int
    refused_since_promotion: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """`waiting`: pending or held, counted up to 100,000. `delivered`, `failed` and `discarded` are of the endpoint's newest
    10,000 deliveries. `resting_until`: nothing is sent before then, because of `resting_because`.
    """

    endpoint: Endpoint
    waiting: int
    under_way: int
    delivered: int
    failed: int
    discarded: int
    health: Health
    resting_until: datetime | None
    resting_because: HoldReason | None
    last_failure: Failure | None
    secrets: Secrets


async def show_endpoint(
    executor: Executor, endpoint_id: EndpointId, *, brand_id: BrandId | None = None
) -> EndpointReport:
    """Raises EndpointNotFound."""
    endpoint = await find_endpoint(executor, endpoint_id, brand_id=brand_id)
    more = await executor.fetchrow(SQL["more"], endpoint_id, MOST_WAITING_COUNTED)
    if more is None:
        raise EndpointNotFound(endpoint_id)
    rows = await executor.fetch(SQL["counts"], endpoint_id, _NEWEST)
    counts = {row["state"]: int(row["deliveries"]) for row in rows}
    health = Health() if more["told"] is None else health_of(more)
    is_resting = health.hold_until is not None and health.hold_until > more["at"]
    return EndpointReport(
        endpoint=endpoint,
        waiting=more["waiting"],
        under_way=more["under_way"],
        delivered=counts.get(DeliveryState.DELIVERED, 0),
        failed=counts.get(DeliveryState.FAILED, 0),
        discarded=counts.get(DeliveryState.DISCARDED, 0),
        health=health,
        resting_until=health.hold_until if is_resting else None,
        resting_because=health.hold_reason if is_resting else None,
        last_failure=await _last_failure(executor, endpoint_id),
        secrets=await _secrets(executor, endpoint, more["sealed"]),
    )


async def _last_failure(executor: Executor, endpoint_id: EndpointId) -> Failure | None:
    row = await executor.fetchrow(SQL["last_failure"], endpoint_id)
    if row is None:
        return None
    return Failure(
        delivery_id=DeliveryId(row["delivery_id"]),
        failed_at=row["finished_at"],
        reason=Reason(row["reason"]),
        detail=row["detail"],
        status_code=row["status_code"],
    )


async def _secrets(executor: Executor, endpoint: Endpoint, sealed: list[str]) -> Secrets:
    attempts = refused = 0
    if endpoint.secret_promoted_at is not None:
        row = await executor.fetchrow(
            SQL["answers_since"], endpoint.id, endpoint.secret_promoted_at, _NEWEST_ANSWERS
        )
        assert row is not None
        attempts, refused = row["attempts"], row["refused"]
    return Secrets(
        step=rotation_step(endpoint),
        key_ids=tuple(sorted({key_id_of(text) for text in sealed})),
        attempts_since_promotion=attempts,
        refused_since_promotion=refused,
    )
