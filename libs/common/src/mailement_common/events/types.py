"""The types of events; each is also the routing key on the bus."""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    SUBSCRIBER_PENDING = "subscriber.pending"
    SUBSCRIBER_CONFIRMED = "subscriber.confirmed"
    SUBSCRIBER_UPDATED = "subscriber.updated"
    SUBSCRIBER_UNSUBSCRIBED = "subscriber.unsubscribed"
    SUBSCRIBER_BOUNCED = "subscriber.bounced"
    SUBSCRIBER_COMPLAINED = "subscriber.complained"
    EVENT_REPORTED = "event.reported"
    DRIP_ENROLLED = "drip.enrolled"
    DRIP_WEBHOOK = "drip.webhook"
    MESSAGE_QUEUED = "message.queued"
    ENDPOINT_FAILING = "endpoint.failing"
    ENDPOINT_DISABLED = "endpoint.disabled"
    DELIVERY_EXHAUSTED = "delivery.exhausted"
    DELIVERY_RECOVERED = "delivery.recovered"
