"""What the owners of endpoints are told: events of our own, that go the way of all events."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mailement_common.db.sql import queries_beside
from mailement_common.events.types import EventType
from mailement_common.ids import BrandId, event_id
from mailement_webhook_dispatcher.conclusion import Conclusion
from mailement_webhooks.database import Connection
from mailement_webhooks.deliveries import AttemptOutcome
from mailement_webhooks.endpoints import EndpointState, StateReason
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.rules.health import Fact
from mailement_webhooks.rules.profiles import OPERATIONAL_EVENT_TYPES
from mailement_webhooks.rules.shown_url import shown_url
from mailement_webhooks.usecases.tell import OperationalEvent

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """`type` is what the conclusion is news of."""

    type: EventType
    conclusion: Conclusion


def news_of(conclusions: Sequence[Conclusion]) -> list[News]:
    """What can be told without asking the ledger. News of operational events' own deliveries would never end."""
    found = []
    for conclusion in conclusions:
        if Fact.FAILING in conclusion.change.facts:
            found.append(News(type=EventType.ENDPOINT_FAILING, conclusion=conclusion))
        if _is_operational(conclusion):
            continue
        if conclusion.exhausted:
            found.append(News(type=EventType.DELIVERY_EXHAUSTED, conclusion=conclusion))
        if conclusion.recovered:
            found.append(News(type=EventType.DELIVERY_RECOVERED, conclusion=conclusion))
    return found


def sent_again(conclusions: Sequence[Conclusion]) -> list[Conclusion]:
    """Those of which the ledger has to say whether they recovered."""
    return [
        conclusion
        for conclusion in conclusions
        if conclusion.may_have_recovered and not conclusion.recovered and not _is_operational(conclusion)
    ]


async def recoveries(connection: Connection, again: Sequence[Conclusion]) -> list[News]:
    deliveries = [conclusion.attempted.delivery for conclusion in again]
    rows = await connection.fetch(
        SQL["had_failed"],
        [delivery.id for delivery in deliveries],
        [delivery.occurred_at for delivery in deliveries],
        [delivery.attempt for delivery in deliveries],
    )
    failed: Collection[DeliveryId] = {row["delivery_id"] for row in rows}
    return [
        News(type=EventType.DELIVERY_RECOVERED, conclusion=conclusion)
        for conclusion in again
        if conclusion.attempted.delivery.id in failed
    ]


async def as_events(connection: Connection, news: Sequence[News]) -> list[OperationalEvent]:
    brands = {item.conclusion.attempted.delivery.brand_id for item in news}
    rows = await connection.fetch(SQL["brand_slugs"], list(brands))
    slugs = {BrandId(row["id"]): str(row["slug"]) for row in rows}
    return [_event(item, slugs.get(item.conclusion.attempted.delivery.brand_id)) for item in news]


def _event(news: News, brand_slug: str | None) -> OperationalEvent:
    attempted = news.conclusion.attempted
    delivery = attempted.delivery
    return OperationalEvent(
        # An attempt is news of each type once, however often its transaction is tried.
        event_id=event_id(news.type, delivery.id, delivery.attempt),
        type=news.type,
        brand_id=delivery.brand_id,
        occurred_at=attempted.finished_at,
        data={
            "brand_slug": brand_slug,
            "endpoint": _endpoint(news),
            "delivery": _delivery(news.conclusion),
        },
    )


def _endpoint(news: News) -> dict[str, Any]:
    endpoint = news.conclusion.attempted.workload.endpoint
    health = news.conclusion.change.health
    disabled = news.type is EventType.ENDPOINT_DISABLED
    return {
        "id": endpoint.id,
        "url": shown_url(endpoint.url),
        "state": EndpointState.DISABLED if disabled else endpoint.state,
        "state_reason": disabling_reason(news.conclusion) if disabled else endpoint.state_reason,
        "failing_since": health.first_failure_at,
        "consecutive_failures": health.consecutive_failures,
    }


def _delivery(conclusion: Conclusion) -> dict[str, Any]:
    delivery, result = conclusion.attempted.delivery, conclusion.result
    return {
        "id": delivery.id,
        "event_id": str(delivery.event_id),
        "type": delivery.type,
        "attempts": delivery.attempt,
        "reason": result.reason,
        "detail": result.detail if result.outcome is AttemptOutcome.FAILED else None,
        "status": result.status_code,
    }


def disabling_reason(conclusion: Conclusion) -> StateReason | None:
    """Why the endpoint is to be disabled; None: it is not."""
    if Fact.DISABLED_GONE in conclusion.change.facts:
        return StateReason.GONE
    if Fact.DISABLED_NO_SUCCESS in conclusion.change.facts:
        return StateReason.NO_SUCCESS
    return None


def _is_operational(conclusion: Conclusion) -> bool:
    return conclusion.attempted.delivery.type in OPERATIONAL_EVENT_TYPES
