"""From events to deliveries: which events are posted, and as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import asyncpg

from mailement_common.bus.consumer import Handler
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.rules.payload import subscriber_body
from mailement_webhooks.usecases.record_events import WebhookEvent, record_events

# Other events reach the queue too; nobody is told about them.
HANDLERS: Final[Mapping[str, Callable[[Envelope], bytes]]] = {
    EventType.SUBSCRIBER_CONFIRMED: subscriber_body,
    EventType.SUBSCRIBER_UNSUBSCRIBED: subscriber_body,
    EventType.SUBSCRIBER_BOUNCED: subscriber_body,
    EventType.SUBSCRIBER_COMPLAINED: subscriber_body,
}


def ingest(pool: asyncpg.Pool, *, wake: Callable[[], None]) -> Handler:
    """The consumer's handler: one batch is one transaction; `wake` is called when it made deliveries."""

    async def handle(events: Sequence[Envelope]) -> None:
        posted = [_webhook_event(event) for event in events if event.type in HANDLERS]
        if posted and await record_events(pool, posted):
            wake()

    return handle


def _webhook_event(event: Envelope) -> WebhookEvent:
    return WebhookEvent(
        id=event.id,
        profile=Profile.MAILEMENT,
        brand_id=event.brand_id,
        type=event.type,
        body=HANDLERS[event.type](event),
        occurred_at=event.occurred_at,
        traceparent=event.traceparent,
    )
