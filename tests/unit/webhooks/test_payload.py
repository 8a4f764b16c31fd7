"""The payload, byte for byte."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from mailement_common.events.envelope import Envelope
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.errors import FactsMissing
from mailement_webhooks.rules.payload import body_for, subscriber_body

# As it stands in the Mailement document, section 9.
DOCUMENT = """
{
  "event":      "subscriber.confirmed",
  "brand_slug": "nowness",
  "timestamp":  "2026-05-19T17:42:00+00:00",
  "data": {
    "subscriber": {
      "id":              41023,
      "email":           "reader@example.com",
      "first_name":      "Maria",
      "last_name":       "Costa",
      "city":            "Lisbon",
      "custom_fields":   { "favorite_genre": "essays" },
      "status":          "confirmed",
      "source":          "api",
      "confirmed_at":    "2026-05-19 17:42:00",
      "unsubscribed_at": null
    }
  }
}
"""


# The envelope is the Maily document's, the subscriber that of its API's index.
MAILY = """
{
  "id": "evt_000000000000000000000001",
  "event": "subscriber.created",
  "created_at": "2026-05-19T17:42:00+00:00",
  "data": {
    "subscriber": {
      "id": 41023,
      "list_id": 1,
      "email": "reader@example.com",
      "first_name": "Maria",
      "last_name": "Costa",
      "status": "active",
      "subscribed_at": "2026-05-19T17:42:00+00:00",
      "unsubscribed_at": null
    }
  }
}
"""

ENDPOINT = {
    "id": 3,
    "url": "https://user:word@receiver.example:8443/hook?token=hidden#top",
    "state": "disabled",
    "state_reason": "no_success",
    "failing_since": "2026-05-14T17:42:00.5+00:00",
    "consecutive_failures": 23,
    "secret_sealed": "never passed on",
}
DELIVERY = {
    "id": 7,
    "event_id": "5c3ad4fe-3b70-8b1a-9a51-2ab1b3f2a001",
    "type": "subscriber.confirmed",
    "attempts": 12,
    "reason": "http_5xx",
    "detail": "the endpoint answered 500",
    "status": 500,
}


def _event(
    *, occurred_at: datetime = datetime(2026, 5, 19, 17, 42, 0, 999_999, UTC), **facts: Any
) -> Envelope:
    subscriber = {
        "version": 3,
        "unsubscribed_at": None,
        "confirmed_at": "2026-05-19T17:42:00.123456+00:00",
        "source": "api",
        "status": "confirmed",
        "custom_fields": {"favorite_genre": "essays"},
        "city": "Lisbon",
        "last_name": "Costa",
        "first_name": "Maria",
        "email": "reader@example.com",
        "id": 41023,
    }
    return Envelope(
        id=EventId(UUID(int=1)),
        type="subscriber.confirmed",
        brand_id=BrandId(1),
        occurred_at=occurred_at,
        data={"brand_slug": "nowness", "subscriber": subscriber | facts},
    )


def _operational(**data: Any) -> Envelope:
    return Envelope(
        id=EventId(UUID(int=1)),
        type="endpoint.disabled",
        brand_id=BrandId(1),
        occurred_at=datetime(2026, 5, 19, 17, 42, tzinfo=UTC),
        data={"brand_slug": "nowness", "endpoint": ENDPOINT, "delivery": DELIVERY} | data,
    )


def test_the_documents_example_comes_out_byte_for_byte() -> None:
    assert subscriber_body(_event()) == json.dumps(json.loads(DOCUMENT), separators=(",", ":")).encode()


def test_times_are_told_in_utc_and_whole_seconds() -> None:
    lisbon = timezone(timedelta(hours=1))
    event = _event(
        occurred_at=datetime(2026, 5, 19, 18, 42, 0, 5, lisbon),
        confirmed_at="2026-05-19T18:42:00.9+01:00",
        unsubscribed_at="2026-05-20T00:00:00+00:00",
    )

    body = json.loads(subscriber_body(event))

    assert body["timestamp"] == "2026-05-19T17:42:00+00:00"
    assert body["data"]["subscriber"]["confirmed_at"] == "2026-05-19 17:42:00"
    assert body["data"]["subscriber"]["unsubscribed_at"] == "2026-05-20 00:00:00"


def test_absent_facts_are_null_and_no_field_is_left_out() -> None:
    facts: dict[str, Any] = dict.fromkeys(("first_name", "last_name", "city", "source", "confirmed_at"))

    subscriber = json.loads(subscriber_body(_event(**facts, custom_fields={})))["data"]["subscriber"]

    assert {name: subscriber[name] for name in facts} == facts
    assert subscriber["custom_fields"] == {}


def test_letters_and_slashes_go_as_they_are() -> None:
    assert "São João / 東京".encode() in subscriber_body(_event(city="São João / 東京"))


def test_the_same_event_always_makes_the_same_bytes() -> None:
    assert subscriber_body(_event()) == subscriber_body(Envelope.parse(_event().body()))


@pytest.mark.parametrize(
    "facts", [{"subscriber": {}}, {"subscriber": None}, {"subscriber": {"confirmed_at": "yesterday"}}]
)
def test_an_event_without_a_subscriber_is_refused(facts: dict[str, Any]) -> None:
    event = _event()

    with pytest.raises(FactsMissing):
        subscriber_body(
            Envelope(
                id=event.id,
                type=event.type,
                brand_id=event.brand_id,
                occurred_at=event.occurred_at,
                data={"brand_slug": "nowness", **facts},
            )
        )


def test_maily_gets_its_envelope_and_the_subscriber_of_its_api() -> None:
    body = body_for(Profile.MAILY, _event(version=1))

    assert body == json.dumps(json.loads(MAILY), separators=(",", ":")).encode()


def test_who_has_not_confirmed_is_not_called_active() -> None:
    event = dataclasses.replace(
        _event(version=1, status="pending", confirmed_at=None), type="subscriber.pending"
    )

    subscriber = json.loads(body_for(Profile.MAILY, event) or b"")["data"]["subscriber"]

    assert (subscriber["status"], subscriber["subscribed_at"]) == ("pending", None)


@pytest.mark.parametrize("status", ["unsubscribed", "bounced", "complained"])
def test_maily_shares_our_words_for_those_who_left(status: str) -> None:
    event = dataclasses.replace(_event(status=status), type=f"subscriber.{status}")

    body = json.loads(body_for(Profile.MAILY, event) or b"")

    assert (body["event"], body["data"]["subscriber"]["status"]) == (f"subscriber.{status}", status)


def test_the_mailement_body_is_the_one_of_the_document() -> None:
    assert body_for(Profile.MAILEMENT, _event()) == subscriber_body(_event())


def test_an_event_that_a_profile_does_not_speak_of_has_no_body() -> None:
    assert body_for(Profile.MAILY, _event(version=3)) is None
    assert body_for(Profile.MAILEMENT, dataclasses.replace(_event(), type="subscriber.updated")) is None


def test_an_operational_event_tells_what_it_is_about_and_no_secret() -> None:
    body = body_for(Profile.MAILEMENT, _operational())

    assert json.loads(body or b"") == {
        "event": "endpoint.disabled",
        "brand_slug": "nowness",
        "timestamp": "2026-05-19T17:42:00+00:00",
        "data": {
            "endpoint": {
                "id": 3,
                "url": "https://receiver.example:8443/hook",
                "state": "disabled",
                "state_reason": "no_success",
                "failing_since": "2026-05-14T17:42:00+00:00",
                "consecutive_failures": 23,
            },
            "delivery": DELIVERY,
        },
    }


def test_an_operational_event_goes_in_maily_s_envelope_too() -> None:
    body = json.loads(body_for(Profile.MAILY, _operational()) or b"")

    assert list(body) == ["id", "event", "created_at", "data"]
    assert (body["event"], body["data"]["endpoint"]["id"]) == ("endpoint.disabled", 3)


def test_an_operational_event_without_a_delivery_or_a_brand_is_told_all_the_same() -> None:
    body = json.loads(body_for(Profile.MAILEMENT, _operational(delivery=None, brand_slug=None)) or b"")

    assert (body["brand_slug"], body["data"]["delivery"]) == (None, None)


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("data", [{"endpoint": None}, {"endpoint": {"id": 3}}, {"delivery": {"id": 7}}])
def test_an_operational_event_without_its_facts_is_refused(profile: Profile, data: dict[str, Any]) -> None:
    with pytest.raises(FactsMissing):
        body_for(profile, _operational(**data))
