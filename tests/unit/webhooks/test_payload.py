"""The payload, byte for byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from mailement_common.events.envelope import Envelope
from mailement_common.ids import BrandId, EventId
from mailement_webhooks.errors import NotASubscriberEvent
from mailement_webhooks.rules.payload import subscriber_body

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

    with pytest.raises(NotASubscriberEvent):
        subscriber_body(
            Envelope(
                id=event.id,
                type=event.type,
                brand_id=event.brand_id,
                occurred_at=event.occurred_at,
                data={"brand_slug": "nowness", **facts},
            )
        )
