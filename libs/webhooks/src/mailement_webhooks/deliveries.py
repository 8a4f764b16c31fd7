"""The ledger's words: an event that goes to an endpoint is a delivery, every try of it an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailement_common.ids import BrandId, EventId
from mailement_webhooks.ids import DeliveryId, EndpointId


class DeliveryState(StrEnum):
    PENDING = "pending"
    LEASED = "leased"
    DELIVERED = "delivered"
    FAILED = "failed"


class AttemptOutcome(StrEnum):
    DELIVERED = "delivered"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Reason(StrEnum):
    """Why an attempt, or a whole delivery, did not succeed."""

    DNS = "dns"
    BLOCKED_ADDRESS = "blocked_address"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    TLS = "tls"
    RESET = "reset"
    READ_TIMEOUT = "read_timeout"
    BODY_TIMEOUT = "body_timeout"
    BAD_RESPONSE = "bad_response"
    BAD_URL = "bad_url"
    REDIRECT = "redirect"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    HTTP_OTHER = "http_other"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105  a class of failure
    INTERNAL_ERROR = "internal_error"
    INTERRUPTED = "interrupted"
    ENDPOINT_DELETED = "endpoint_deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """`response_body`: at most the first 4096 bytes of the answer. `duration_ms` None: interrupted."""

    number: int
    outcome: AttemptOutcome
    reason: Reason | None
    detail: str | None
    status_code: int | None
    response_body: str | None
    started_at: datetime
    duration_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """`attempts`: oldest first."""

    id: DeliveryId
    event_id: EventId
    endpoint_id: EndpointId
    brand_id: BrandId
    type: str
    state: DeliveryState
    reason: Reason | None
    created_at: datetime
    finished_at: datetime | None
    attempts: tuple[Attempt, ...]
