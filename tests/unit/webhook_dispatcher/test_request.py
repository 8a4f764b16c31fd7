"""The request of one attempt: headers, signatures and the very bytes that were stored."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
import standardwebhooks

from mailement_common.ids import EventId
from mailement_webhook_dispatcher.request import Outgoing, SigningSecrets, request_for
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import Sequence

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
STAGED = "whsec_c3RhZ2VkLXN0YWdlZC1zdGFnZWQtc3RhZ2VkLXN0YWc="
PREVIOUS = "whsec_cHJldmlvdXMtcHJldmlvdXMtcHJldmlvdXMtcHJldmk="
BODY = b'{"event":"subscriber.confirmed","brand_slug":"nowness"}'
EVENT_ID = "5c3ad4fe-3b70-8b1a-9a51-2ab1b3f2a001"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
AT = datetime(2026, 5, 19, 17, 42, 1, 900_000, tzinfo=UTC)


def _outgoing(
    *,
    profile: Profile = Profile.MAILEMENT,
    event_type: str = "subscriber.confirmed",
    traceparent: str | None = None,
) -> Outgoing:
    return Outgoing(
        event_id=EventId(UUID(EVENT_ID)),
        profile=profile,
        type=event_type,
        body=BODY,
        sequence=Sequence(41),
        traceparent=traceparent,
        url="https://receiver.example/hook?token=hidden",
    )


def test_the_headers_are_those_of_the_document_and_of_standard_webhooks() -> None:
    request = request_for(_outgoing(), secrets=SigningSecrets(active=SECRET), at=AT)

    assert request.url == "https://receiver.example/hook?token=hidden"
    assert request.body is BODY
    assert list(request.headers) == [
        "Content-Type",
        "User-Agent",
        "X-Mailement-Event",
        "X-Mailement-Signature",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "webhook-sequence",
    ]
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "Mailement-Webhook/1.0"
    assert request.headers["X-Mailement-Event"] == "subscriber.confirmed"
    assert request.headers["webhook-id"] == EVENT_ID
    assert request.headers["webhook-timestamp"] == "1779212521"
    assert request.headers["webhook-sequence"] == "41"


def test_the_signature_is_what_openssl_and_php_compute_over_the_raw_body() -> None:
    request = request_for(_outgoing(), secrets=SigningSecrets(active=SECRET), at=AT)

    # hash_hmac('sha256', $rawBody, $brandSecret) and `openssl dgst -sha256 -hmac "$secret"` give these digits.
    assert (
        request.headers["X-Mailement-Signature"]
        == "sha256=e2c8874ec25b72e8d3b05241fb8fb446324e957071878c6f16a0e10922b2d16a"
    )


def test_maily_s_headers_are_those_of_its_document() -> None:
    outgoing = _outgoing(profile=Profile.MAILY, event_type="subscriber.created")

    headers = request_for(outgoing, secrets=SigningSecrets(active=SECRET), at=AT).headers

    assert headers["X-Maily-Event"] == "subscriber.created"
    assert re.fullmatch("evt_[a-z0-9]{24}", headers["X-Maily-Delivery-Id"])
    assert headers["X-Maily-Signature"] == hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    assert not [name for name in headers if "Mailement" in name]
    assert headers["webhook-id"] == EVENT_ID


@pytest.mark.parametrize("profile", list(Profile))
def test_during_a_rotation_each_secret_verifies_with_the_standard_library(profile: Profile) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the library refuses old ones
    secrets = SigningSecrets(active=SECRET, staged=STAGED, previous=PREVIOUS)

    request = request_for(_outgoing(profile=profile), secrets=secrets, at=now)

    for secret in (SECRET, STAGED, PREVIOUS):
        standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers), json_parse=False)


def test_the_signatures_are_listed_active_staged_previous() -> None:
    rotating = request_for(
        _outgoing(), secrets=SigningSecrets(active=SECRET, staged=STAGED, previous=PREVIOUS), at=AT
    )

    assert rotating.headers["webhook-signature"].split(" ") == [
        request_for(_outgoing(), secrets=SigningSecrets(active=secret), at=AT).headers["webhook-signature"]
        for secret in (SECRET, STAGED, PREVIOUS)
    ]


def test_a_staged_secret_leaves_the_document_s_signature_alone() -> None:
    alone = request_for(_outgoing(), secrets=SigningSecrets(active=SECRET), at=AT)
    staged = request_for(_outgoing(), secrets=SigningSecrets(active=SECRET, staged=STAGED), at=AT)

    assert staged.headers["X-Mailement-Signature"] == alone.headers["X-Mailement-Signature"]


def test_a_trace_goes_on_to_the_receiver() -> None:
    request = request_for(_outgoing(traceparent=TRACEPARENT), secrets=SigningSecrets(active=SECRET), at=AT)

    assert request.headers["traceparent"] == TRACEPARENT


def test_nothing_secret_is_shown() -> None:
    secrets = SigningSecrets(active=SECRET, staged=STAGED, previous=PREVIOUS)
    shown = f"{secrets!r} {_outgoing()!r} {request_for(_outgoing(), secrets=secrets, at=AT)!r}"

    assert not [secret for secret in (SECRET, STAGED, PREVIOUS) if secret in shown]
    assert "nowness" not in shown


def test_a_secret_that_cannot_be_decoded_is_refused_when_it_is_read() -> None:
    with pytest.raises(ValueError):
        SigningSecrets(active=SECRET, staged="whsec_abc")
