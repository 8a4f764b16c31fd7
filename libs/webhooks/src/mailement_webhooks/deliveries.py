"""The ledger's words: an event that goes to an endpoint is a delivery, every try of it an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailement_common.ids import BrandId, EventId
from mailement_webhooks.ids import DeliveryId, EndpointId, Sequence


class DeliveryState(StrEnum):
    """`held`: it would be pending, but its endpoint is paused, disabled, or resting. `leased`: on its way."""

    PENDING = "pending"
    HELD = "held"
    LEASED = "leased"
    DELIVERED = "delivered"
    FAILED = "failed"
    DISCARDED = "discarded"


class Trigger(StrEnum):
    """Who asked for an attempt."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"
    REPLAY = "replay"


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
    PAYLOAD_REMOVED = "payload_removed"
    INTERNAL_ERROR = "internal_error"
    INTERRUPTED = "interrupted"
    ENDPOINT_DELETED = "endpoint_deleted"
    HOLD_EXPIRED = "hold_expired"
    DRAINED = "drained"
    REPLAY_CANCELLED = "replay_cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Whole milliseconds. None: not reached, or not needed because the connection was kept from before."""

    dns: int | None = None
    connect: int | None = None
    tls: int | None = None
    first_byte: int | None = None
    body: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Heads: as sent and as received, lines ended by CRLF. `response_body`: at most the first 4096 bytes of the answer.

    `duration_ms` None: interrupted. `next_attempt_at` None: none followed from this one.
    """

    number: int
    trigger: Trigger
    outcome: AttemptOutcome
    reason: Reason | None
    detail: str | None
    status_code: int | None
    request_head: str | None
    response_head: str | None
    response_body: str | None
    started_at: datetime
    duration_ms: int | None
    phases: Phases
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """`sequence` counts the deliveries of its endpoint. `next_attempt_at`: while it waits."""

    id: DeliveryId
    event_id: EventId
    endpoint_id: EndpointId
    brand_id: BrandId
    sequence: Sequence
    type: str
    state: DeliveryState
    reason: Reason | None
    attempts: int
    occurred_at: datetime
    created_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None
