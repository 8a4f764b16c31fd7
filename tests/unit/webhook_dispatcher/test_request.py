"""The request of one attempt: headers, signatures and the very bytes that were stored."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import standardwebhooks

from mailement_common.ids import BrandId, EventId
from mailement_webhook_dispatcher.request import request_for
from mailement_webhooks.ids import DeliveryId, EndpointId
from mailement_webhooks.usecases.claim_deliveries import LeasedDelivery

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
BODY = b'{"event":"subscriber.confirmed","brand_slug":"nowness"}'
EVENT_ID = "5c3ad4fe-3b70-8b1a-9a51-2ab1b3f2a001"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def _delivery(*, traceparent: str | None = None) -> LeasedDelivery:
    return LeasedDelivery(
        id=DeliveryId(7),
        event_id=EventId(UUID(EVENT_ID)),
        endpoint_id=EndpointId(3),
        brand_id=BrandId(1),
        attempt=1,
        lease_token=UUID(int=1),
        url="https://receiver.example/hook",
        secret_sealed="v1|test|…",
        type="subscriber.confirmed",
        body=BODY,
        occurred_at=datetime(2026, 5, 19, 17, 42, tzinfo=UTC),
        traceparent=traceparent,
    )


def test_the_headers_are_those_of_the_document_and_of_standard_webhooks() -> None:
    request = request_for(
        _delivery(), secret=SECRET, at=datetime(2026, 5, 19, 17, 42, 1, 900_000, tzinfo=UTC)
    )

    assert request.url == "https://receiver.example/hook"
    assert request.body == BODY
    assert list(request.headers) == [
        "Content-Type",
        "User-Agent",
        "X-Mailement-Event",
        "X-Mailement-Signature",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ]
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "Mailement-Webhook/1.0"
    assert request.headers["X-Mailement-Event"] == "subscriber.confirmed"
    assert request.headers["webhook-id"] == EVENT_ID
    assert request.headers["webhook-timestamp"] == "1779212521"


def test_the_signature_is_what_openssl_and_php_compute_over_the_raw_body() -> None:
    request = request_for(_delivery(), secret=SECRET, at=datetime(2026, 5, 19, tzinfo=UTC))

    # hash_hmac('sha256', $rawBody, $brandSecret) and `openssl dgst -sha256 -hmac "$secret"` give these digits.
    assert (
        request.headers["X-Mailement-Signature"]
        == "sha256=e2c8874ec25b72e8d3b05241fb8fb446324e957071878c6f16a0e10922b2d16a"
    )


def test_the_standard_signature_passes_its_own_library() -> None:
    request = request_for(_delivery(), secret=SECRET, at=datetime.now(UTC))  # noqa: TID251 - it refuses old ones

    standardwebhooks.Webhook(SECRET).verify(request.body, dict(request.headers), json_parse=False)


def test_a_trace_goes_on_to_the_receiver() -> None:
    request = request_for(
        _delivery(traceparent=TRACEPARENT), secret=SECRET, at=datetime(2026, 5, 19, tzinfo=UTC)
    )

    assert request.headers["traceparent"] == TRACEPARENT
