"""A transition yields exactly one event; a call that changes nothing yields none."""

from __future__ import annotations

from typing import Any

import pytest

from mailement_common.ids import event_id
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from tests.contract.mailement.endpoints import ENDPOINTS, Endpoint, each
from tests.support.api import ApiUnderTest
from tests.support.brands import AT_ONCE, READER, Tenant

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def _post(api: ApiUnderTest, brand: Tenant, path: str, **body: Any) -> None:
    answer = await api.post(f"/api/v1/{path}", {"email": READER, **body}, key=brand.key)
    assert answer.status == 200, answer.body


async def test_an_event_tells_all_that_a_receiver_needs(api: ApiUnderTest, brand: Tenant) -> None:
    topic = await brand.topic("weekly")
    await brand.field("genre")
    await _post(
        api,
        brand,
        "subscribe",
        first_name="Maria",
        last_name="Costa",
        city="Lisbon",
        custom_fields={"genre": "essays"},
        topic_ids=[topic],
    )
    (event,) = await brand.events()
    row = await brand.row()
    assert event["data"] == {
        "brand_slug": brand.slug,
        "signup_topic_ids": [topic],
        "removed_topic_ids": [],
        "subscriber": {
            "id": row["id"],
            "email": READER,
            "first_name": "Maria",
            "last_name": "Costa",
            "city": "Lisbon",
            "custom_fields": {"genre": "essays"},
            "status": "confirmed",
            "source": "api",
            "confirmed_at": event["data"]["subscriber"]["confirmed_at"],
            "unsubscribed_at": None,
            "version": 1,
        },
    }


async def test_each_version_of_a_subscriber_has_one_event_with_its_own_id(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    await double_brand.topic("weekly")
    await _post(api, double_brand, "subscribe")
    await _post(api, double_brand, "subscribe", first_name="Maria")
    await _post(api, double_brand, "subscribers", auto_confirm=True)
    await _post(api, double_brand, "subscribers/tags", add=["weekly"])
    await _post(api, double_brand, "subscribers/unsubscribe")
    await _post(api, double_brand, "subscribe")
    subscriber = (await double_brand.row())["id"]
    events = await double_brand.events()
    assert [event["event_id"] for event in events] == [
        event_id("subscriber", subscriber, version) for version in range(1, 7)
    ]
    assert [event["type"] for event in events] == [
        "subscriber.pending",
        "subscriber.updated",
        "subscriber.confirmed",
        "subscriber.updated",
        "subscriber.unsubscribed",
        "subscriber.pending",
    ]


async def test_an_enrolment_has_one_event_with_its_own_id(api: ApiUnderTest, brand: Tenant) -> None:
    drip, subscriber = await brand.drip(AT_ONCE), await brand.subscriber()
    await _post(api, brand, f"drips/{drip}/enroll")
    (enrollment,) = await brand.enrollments()
    event = (await brand.events())[-1]
    assert (event["type"], event["event_id"]) == (
        "drip.enrolled",
        event_id("enrollment", enrollment["id"], 1),
    )
    assert event["data"] == {"enrollment_id": enrollment["id"], "drip_id": drip, "subscriber_id": subscriber}


@each(*ENDPOINTS)
async def test_a_repeated_call_writes_no_row_and_no_event(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    await brand.topic("weekly")
    await brand.drip(AT_ONCE)
    await brand.subscriber()
    await api.post(endpoint.path, endpoint.body, key=brand.key)
    before = await brand.row(), await brand.events(), await brand.enrollments()
    again = await api.post(endpoint.path, endpoint.body, key=brand.key)
    assert again.status == 200
    assert (await brand.row(), await brand.events(), await brand.enrollments()) == before


async def test_a_repeated_call_burns_no_id(api: ApiUnderTest, brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE)
    for _ in range(5):
        await _post(api, brand, "subscribe")
        await _post(api, brand, f"drips/{drip}/enroll")
    first, second = await brand.subscriber(), await brand.subscriber("second@example.com")
    await _post(api, brand, f"drips/{drip}/enroll", email="second@example.com")
    assert second == first + 1
    assert [enrollment["id"] for enrollment in await brand.enrollments()] == [1, 2]


async def test_the_relay_is_woken_for_each_event_and_for_nothing_else(
    api: ApiUnderTest, brand: Tenant
) -> None:
    for _ in range(3):
        await _post(api, brand, "subscribe")
        await api.post("/api/v1/subscribe", {"email": "nobody"}, key=brand.key)
    assert len(api.woken) == len(await brand.events()) == 1


@pytest.mark.parametrize("status", ["bounced", "complained"])
async def test_a_refused_enrolment_tells_nothing(api: ApiUnderTest, brand: Tenant, status: str) -> None:
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber(status=SubscriberStatus(status))
    before = await brand.events()
    await api.post(f"/api/v1/drips/{drip}/enroll", {"email": READER}, key=brand.key)
    assert await brand.events() == before


async def test_the_trace_of_the_request_goes_on_in_the_event(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.topic("weekly")
    drip = await brand.drip(AT_ONCE)
    for path, body in (
        ("subscribe", {}),
        ("subscribers", {"first_name": "Maria"}),
        ("subscribers/tags", {"add": ["weekly"]}),
        (f"drips/{drip}/enroll", {}),
        ("subscribers/unsubscribe", {}),
    ):
        await api.post(
            f"/api/v1/{path}", {"email": READER, **body}, key=brand.key, headers={"traceparent": TRACEPARENT}
        )
    assert [event["traceparent"] for event in await brand.events()] == [TRACEPARENT] * 5
