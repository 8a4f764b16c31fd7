"""POST /api/v1/subscribers (section 5)."""

from __future__ import annotations

from typing import Any

import pytest

from mailement_newsletter.catalog.topics import list_unknown_topics
from mailement_newsletter.rules.drip_definition import DripTrigger
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import AT_ONCE, READER, MakeTenant, Tenant


async def _subscribe(api: ApiUnderTest, brand: Tenant, **body: Any) -> Answer:
    answer = await api.post("/api/v1/subscribers", {"email": READER, **body}, key=brand.key)
    assert answer.status == 200, answer.body
    return answer


async def test_a_newcomer_to_a_single_opt_in_brand_is_subscribed(api: ApiUnderTest, brand: Tenant) -> None:
    answer = await _subscribe(api, brand)
    row = await brand.row()
    assert answer.body == {"success": True, "subscriber_id": row["id"], "status": "subscribed"}
    assert row["status"] == "confirmed"


async def test_a_newcomer_to_a_double_opt_in_brand_awaits_a_click(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    answer = await _subscribe(api, double_brand)
    row = await double_brand.row()
    assert answer.body == {"success": True, "subscriber_id": row["id"], "status": "pending_confirmation"}
    assert row["status"] == "pending"


@pytest.mark.parametrize("status", SubscriberStatus)
async def test_a_known_address_is_existing_whatever_its_state(
    api: ApiUnderTest, double_brand: Tenant, status: SubscriberStatus
) -> None:
    subscriber = await double_brand.subscriber(status=status)
    answer = await _subscribe(api, double_brand)
    assert answer.body == {"success": True, "subscriber_id": subscriber, "status": "existing"}


async def test_a_reactivated_reader_is_existing_too(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.subscriber(status=SubscriberStatus.UNSUBSCRIBED)
    assert (await _subscribe(api, brand)).body["status"] == "existing"
    assert (await brand.row())["status"] == "confirmed"


async def test_the_same_call_again_changes_nothing(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.topic("weekly")
    body = {"first_name": "Maria", "source": "footer", "tags": ["weekly"], "auto_confirm": True}
    await _subscribe(api, brand, **body)
    before = await brand.row(), await brand.events()
    await _subscribe(api, brand, **body)
    assert (await brand.row(), await brand.events()) == before


async def test_the_same_reader_is_found_by_both_subscribe_endpoints(api: ApiUnderTest, brand: Tenant) -> None:
    created = await api.post("/api/v1/subscribe", {"email": READER}, key=brand.key)
    found = await _subscribe(api, brand, last_name="Costa")
    assert (found.body["subscriber_id"], found.body["status"]) == (created.body["subscriber_id"], "existing")
    assert (await brand.row())["last_name"] == "Costa"


async def test_it_takes_the_fields_of_the_other_subscribe_endpoint(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.field("genre")
    await _subscribe(api, brand, last_name="Costa", city="Lisbon", custom_fields={"genre": "essays", "x": 1})
    row = await brand.row()
    assert (row["last_name"], row["city"], row["custom_fields"]) == ("Costa", "Lisbon", {"genre": "essays"})


async def test_bounced_and_complained_readers_stay_untouched(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.topic("weekly")
    await brand.subscriber(status=SubscriberStatus.COMPLAINED)
    before = await brand.row()
    await _subscribe(api, brand, first_name="Maria", tags=["weekly"], auto_confirm=True)
    assert await brand.row() == before


async def test_tags_are_slugs_of_the_brands_topics(api: ApiUnderTest, make_brand: MakeTenant) -> None:
    brand, other = await make_brand(), await make_brand()
    await other.topic("weekly")
    weekly, deep = await brand.topic("weekly"), await brand.topic("deep")
    await _subscribe(api, brand, tags=["deep", "weekly", "weekly"])
    assert (await brand.row())["topic_ids"] == [weekly, deep]


async def test_tags_only_add(api: ApiUnderTest, brand: Tenant) -> None:
    one, two = await brand.topic("one"), await brand.topic("two")
    await _subscribe(api, brand, tags=["one"])
    await _subscribe(api, brand, tags=["two"])
    await _subscribe(api, brand, tags=[])
    assert (await brand.row())["topic_ids"] == [one, two]


async def test_tags_may_name_topics_that_are_not_public(api: ApiUnderTest, brand: Tenant) -> None:
    staff = await brand.topic("staff", public=False)
    await _subscribe(api, brand, tags=["staff"])
    assert (await brand.row())["topic_ids"] == [staff]


async def test_unknown_slugs_are_dropped_and_an_operator_can_list_them(
    api: ApiUnderTest, brand: Tenant
) -> None:
    weekly = await brand.topic("weekly")
    for _ in range(2):
        await _subscribe(api, brand, tags=["weekly", "weakly", "Weekly"])
    async with brand.pool.acquire() as connection:
        unknown = await list_unknown_topics(connection, brand.id)
    assert (await brand.row())["topic_ids"] == [weekly]
    assert {(slug.slug, slug.days) for slug in unknown} == {("weakly", 1), ("Weekly", 1)}


async def test_auto_confirm_bypasses_double_opt_in(api: ApiUnderTest, double_brand: Tenant) -> None:
    assert (await _subscribe(api, double_brand, auto_confirm=True)).body["status"] == "subscribed"
    assert (await double_brand.row())["status"] == "confirmed"


async def test_auto_confirm_holds_for_this_request_only(api: ApiUnderTest, double_brand: Tenant) -> None:
    await _subscribe(api, double_brand, auto_confirm=True)
    next_one = await _subscribe(api, double_brand, email="next@example.com")
    assert next_one.body["status"] == "pending_confirmation"
    mode = await double_brand.pool.fetchval("SELECT opt_in_mode FROM brands WHERE id = $1", double_brand.id)
    assert mode == "double"


@pytest.mark.parametrize("status", [SubscriberStatus.PENDING, SubscriberStatus.UNSUBSCRIBED])
async def test_auto_confirm_confirms_who_is_known_already(
    api: ApiUnderTest, double_brand: Tenant, status: SubscriberStatus
) -> None:
    await double_brand.subscriber(status=status)
    assert (await _subscribe(api, double_brand, auto_confirm=True)).body["status"] == "existing"
    assert (await double_brand.row())["status"] == "confirmed"


@pytest.mark.parametrize("value", [False, None])
async def test_without_auto_confirm_double_opt_in_holds(
    api: ApiUnderTest, double_brand: Tenant, value: bool | None
) -> None:
    answer = await _subscribe(api, double_brand, auto_confirm=value)
    assert answer.body["status"] == "pending_confirmation"


async def test_the_source_is_taken_from_the_first_call_and_kept(api: ApiUnderTest, brand: Tenant) -> None:
    await _subscribe(api, brand, source=" homepage_form ")
    await _subscribe(api, brand, source="footer")
    assert (await brand.row())["source"] == "homepage_form"


@pytest.mark.parametrize("body", [{}, {"source": None}, {"source": "  "}])
async def test_the_source_is_api_when_none_is_given(
    api: ApiUnderTest, brand: Tenant, body: dict[str, object]
) -> None:
    await _subscribe(api, brand, **body)
    assert (await brand.row())["source"] == "api"


async def test_null_is_as_if_the_key_were_not_there(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.topic("weekly")
    await _subscribe(api, brand, first_name="Maria", tags=["weekly"])
    before = await brand.row()
    await _subscribe(api, brand, first_name=None, source=None, tags=None, auto_confirm=None)
    assert await brand.row() == before


async def test_a_tag_that_a_signup_brings_starts_its_drip(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.topic("weekly")
    drip = await brand.drip(AT_ONCE, trigger=DripTrigger.TOPIC_ADDED, topic="weekly")
    await _subscribe(api, brand, tags=["weekly"])
    await brand.start_drips()
    assert [enrollment["drip_id"] for enrollment in await brand.enrollments()] == [drip]


async def test_a_hundred_tags_of_190_characters_are_taken(api: ApiUnderTest, brand: Tenant) -> None:
    await _subscribe(api, brand, tags=[f"{number:03}".ljust(190, "x") for number in range(100)])
    assert len(await brand.unknown_slugs()) == 100
