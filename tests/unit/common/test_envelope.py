from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
import pytest

from mailement_common.events.envelope import Envelope, NotAnEnvelope
from mailement_common.ids import BrandId, EventId

EVENT = Envelope(
    id=EventId(UUID("08a91a4d-63e0-818d-b1d7-b0e7b6e5ea23")),
    type="subscriber.confirmed",
    brand_id=BrandId(7),
    occurred_at=datetime(2026, 5, 19, 17, 42, 0, 123456, tzinfo=UTC),
    data={"subscriber": {"id": 2**63 - 1, "first_name": "Zoë", "city": None}, "signup_topic_ids": [1, 2]},
)


def test_an_event_arrives_as_it_was_sent() -> None:
    assert Envelope.parse(EVENT.body()) == EVENT


def test_the_trace_travels_beside_the_body() -> None:
    traced = replace(EVENT, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")

    assert traced.body() == EVENT.body()
    assert Envelope.parse(traced.body(), traceparent=traced.traceparent) == traced


def test_copies_have_the_same_bytes() -> None:
    assert Envelope.parse(EVENT.body()).body() == EVENT.body()


def test_the_moment_is_the_same_in_any_time_zone() -> None:
    there = replace(EVENT, occurred_at=EVENT.occurred_at.astimezone(timezone(timedelta(hours=2))))

    assert Envelope.parse(there.body()).occurred_at == EVENT.occurred_at


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"null", b"[]", b"7", b'"text"', b"{}", b'{"id":"x"}', b"{", b"[" * 2000]
)
def test_what_is_no_event_is_told(body: bytes) -> None:
    with pytest.raises(NotAnEnvelope):
        Envelope.parse(body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "not-a-uuid"),
        ("id", 7),
        ("id", None),
        ("brand_id", "seven"),
        ("brand_id", None),
        ("occurred_at", "yesterday"),
        ("occurred_at", 7),
        ("data", None),
        ("data", 7),
        ("data", "text"),
        ("data", [1]),
    ],
)
def test_an_event_with_a_damaged_field_is_none(field: str, value: Any) -> None:
    body = orjson.loads(EVENT.body()) | {field: value}

    with pytest.raises(NotAnEnvelope):
        Envelope.parse(orjson.dumps(body))


@pytest.mark.parametrize("field", ["id", "type", "brand_id", "occurred_at", "data"])
def test_an_event_without_one_of_its_fields_is_none(field: str) -> None:
    body = orjson.loads(EVENT.body())
    del body[field]

    with pytest.raises(NotAnEnvelope):
        Envelope.parse(orjson.dumps(body))


def test_a_later_version_may_have_more_fields() -> None:
    body = orjson.loads(EVENT.body()) | {"schema": 2}

    assert Envelope.parse(orjson.dumps(body)) == EVENT
