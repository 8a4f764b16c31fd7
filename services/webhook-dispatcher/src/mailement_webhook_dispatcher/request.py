"""What is sent: URL, headers and body of one attempt, made from values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mailement_common.signing import mailement_signature, standard_signature
from mailement_webhooks.usecases.claim_deliveries import LeasedDelivery

USER_AGENT: Final = "Mailement-Webhook/1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def request_for(delivery: LeasedDelivery, *, secret: str, at: datetime) -> Request:
    """The POST of section 9, and beside its headers those of Standard Webhooks; copies share `webhook-id`."""
    message_id = str(delivery.event_id)
    timestamp = int(at.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "X-Mailement-Event": delivery.type,
        "X-Mailement-Signature": mailement_signature(secret, delivery.body),
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": standard_signature(secret, message_id, timestamp, delivery.body),
    }
    if delivery.traceparent is not None:
        headers["traceparent"] = delivery.traceparent
    return Request(url=delivery.url, headers=headers, body=delivery.body)
