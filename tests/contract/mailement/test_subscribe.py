"""POST /api/v1/subscribe (section 4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailement_newsletter.rules.drip_definition import DripTrigger
from mailement_newsletter.rules.lifecycle import OptInMode, SubscriberStatus
from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import AT_ONCE, READER, MakeTenant, Tenant

PENDING, CONFIRMED, UNSUBSCRIBED, BOUNCED, COMPLAINED = SubscriberStatus


async def _subscribe(api: ApiUnderTest, brand: Tenant, **body: Any) -> Answer:
    answer = await api.post("/api/v1/subscribe", {"email": READER, **body}, key=brand.key)
    assert answer.status == 200, answer.body
    return answer


async def _set_mode(brand: Tenant, mode: OptInMode) -> None:
    await brand.pool.execute("UPDATE brands SET opt_in_mode = $2 WHERE id = $1", brand.id, mode)


async def test_a_newcomer_to_a_single_opt_in_brand_is_confirmed(api: ApiUnderTest, brand: Tenant) -> None:
    answer = await _subscribe(api, brand)
    row = await brand.row()
    assert answer.body == {"ok": True, "subscriber_id": row["id"], "status": "confirmed"}
    assert row["confirmed_at"] is not None


async def test_a_newcomer_to_a_double_opt_in_brand_is_pending(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    answer = await _subscribe(api, double_brand)
    row = await double_brand.row()
    assert answer.body == {"ok": True, "subscriber_id": row["id"], "status": "pending"}
    assert row["confirmed_at"] is None


async def test_a_double_opt_in_signup_sends_no_mail_by_itself(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    await double_brand.drip(AT_ONCE, trigger=DripTrigger.SUBSCRIBER_CONFIRMED)
    await _subscribe(api, double_brand)
    await double_brand.start_drips()
    assert await double_brand.pool.fetchval("SELECT count(*) FROM messages") == 0
    assert await double_brand.enrollments() == []


async def test_everything_that_the_body_tells_is_kept(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.field("favorite_genre")
    await _subscribe(
        api,
        brand,
        first_name="Maria",
        last_name="Costa",
        city="Lisbon",
        custom_fields={"favorite_genre": "essays"},
    )
    row = await brand.row()
    assert (row["first_name"], row["last_name"], row["city"]) == ("Maria", "Costa", "Lisbon")
    assert (row["custom_fields"], row["source"]) == ({"favorite_genre": "essays"}, "api")


async def test_the_address_is_kept_as_typed(api: ApiUnderTest, brand: Tenant) -> None:
    await _subscribe(api, brand, email=" Reader@Example.COM ")
    assert (await brand.row())["email"] == "Reader@Example.COM"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("reader@example.com", "READER@Example.com"),
        ("reader@münchen.example", "reader@xn--mnchen-3ya.example"),
        ("jose\u0301@example.com", "JOS\u00c9@example.com"),
    ],
)
async def test_two_spellings_of_an_address_are_one_subscriber(
    api: ApiUnderTest, brand: Tenant, one: str, other: str
) -> None:
    first, second = await _subscribe(api, brand, email=one), await _subscribe(api, brand, email=other)
    assert first.body == second.body
    assert (await brand.row(one))["email"] == one


async def test_plus_tags_and_dots_are_two_subscribers(api: ApiUnderTest, brand: Tenant) -> None:
    for email in ("maria.costa@example.com", "mariacosta@example.com", "maria.costa+news@example.com"):
        await _subscribe(api, brand, email=email)
    assert await brand.subscribers() == 3


async def test_the_same_call_again_changes_nothing(api: ApiUnderTest, brand: Tenant) -> None:
    topic = await brand.topic("weekly")
    await brand.field("genre")
    body = {"first_name": "Maria", "topic_ids": [topic], "custom_fields": {"genre": "essays"}}
    first = await _subscribe(api, brand, **body)
    before = await brand.row(), await brand.events()
    assert (await _subscribe(api, brand, **body)).body == first.body
    assert (await brand.row(), await brand.events()) == before


async def test_what_is_missing_is_filled_and_what_is_there_is_kept(api: ApiUnderTest, brand: Tenant) -> None:
    await _subscribe(api, brand, first_name="Maria")
    await _subscribe(api, brand, first_name="Anna", last_name="Costa", city="Lisbon")
    row = await brand.row()
    assert (row["first_name"], row["last_name"], row["city"]) == ("Maria", "Costa", "Lisbon")


async def test_custom_fields_are_filled_like_names(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.field("genre")
    await brand.field("referral")
    await _subscribe(api, brand, custom_fields={"genre": "essays"})
    await _subscribe(api, brand, custom_fields={"genre": "novels", "referral": "friend"})
    assert (await brand.row())["custom_fields"] == {"genre": "essays", "referral": "friend"}


async def test_custom_fields_that_the_brand_has_not_defined_are_dropped(
    api: ApiUnderTest, brand: Tenant
) -> None:
    await brand.field("genre")
    await _subscribe(api, brand, custom_fields={"genre": "essays", "is_admin": True, "": "x"})
    assert (await brand.row())["custom_fields"] == {"genre": "essays"}


async def test_only_unknown_custom_fields_are_as_none(api: ApiUnderTest, brand: Tenant) -> None:
    await _subscribe(api, brand, custom_fields={"is_admin": True})
    assert (await brand.row())["custom_fields"] == {}


async def test_custom_fields_take_every_plain_value(api: ApiUnderTest, brand: Tenant) -> None:
    values: dict[str, Any] = {
        "text": "x" * 1000,
        "whole": 2**63 - 1,
        "least": -(2**63),
        "half": 0.5,
        "flag": True,
    }
    for key in values:
        await brand.field(key)
    await _subscribe(api, brand, custom_fields=values)
    assert (await brand.row())["custom_fields"] == values


async def test_unknown_keys_of_the_body_are_ignored(api: ApiUnderTest, brand: Tenant) -> None:
    await _subscribe(api, brand, status="complained", brand_id=99, nested={"deeply": [{"indeed": None}]})
    assert (await brand.row())["status"] == "confirmed"


async def test_names_and_city_are_trimmed_and_empty_ones_are_as_absent(
    api: ApiUnderTest, brand: Tenant
) -> None:
    await _subscribe(api, brand, first_name="  Maria ", last_name="   ", city="")
    row = await brand.row()
    assert (row["first_name"], row["last_name"], row["city"]) == ("Maria", None, None)


async def test_null_is_as_if_the_key_were_not_there(api: ApiUnderTest, brand: Tenant) -> None:
    topic = await brand.topic("weekly")
    await _subscribe(api, brand, first_name="Maria", topic_ids=[topic])
    before = await brand.row()
    await _subscribe(
        api, brand, first_name=None, last_name=None, city=None, topic_ids=None, custom_fields=None
    )
    assert await brand.row() == before


async def test_limits_count_characters_behind_the_trimming(api: ApiUnderTest, brand: Tenant) -> None:
    await _subscribe(
        api, brand, first_name=f" {'é' * 80} ", last_name=f" {'ß' * 80} ", city=f" {'雪' * 120} "
    )
    row = await brand.row()
    assert (len(row["first_name"]), len(row["last_name"]), len(row["city"])) == (80, 80, 120)


async def test_an_unsubscribed_reader_of_a_single_opt_in_brand_is_confirmed_again(
    api: ApiUnderTest, brand: Tenant
) -> None:
    await brand.subscriber(status=UNSUBSCRIBED)
    assert (await _subscribe(api, brand)).body["status"] == "confirmed"
    row = await brand.row()
    assert (row["status"], row["unsubscribed_at"]) == ("confirmed", None)


async def test_an_unsubscribed_reader_of_a_double_opt_in_brand_is_pending_again(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    await double_brand.subscriber(status=UNSUBSCRIBED)
    assert (await _subscribe(api, double_brand)).body["status"] == "pending"
    row = await double_brand.row()
    assert (row["status"], row["unsubscribed_at"]) == ("pending", None)


async def test_a_confirmed_reader_never_falls_back_to_pending(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    await double_brand.subscriber(status=CONFIRMED)
    confirmed_at = (await double_brand.row())["confirmed_at"]
    assert (await _subscribe(api, double_brand, first_name="Maria")).body["status"] == "confirmed"
    assert (await double_brand.row())["confirmed_at"] == confirmed_at


async def test_a_pending_reader_stays_pending_in_a_double_opt_in_brand(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    await double_brand.subscriber(status=PENDING)
    before = await double_brand.row()
    assert (await _subscribe(api, double_brand)).body["status"] == "pending"
    assert await double_brand.row() == before


async def test_a_pending_reader_is_confirmed_once_the_brand_is_single_opt_in(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    await double_brand.subscriber(status=PENDING)
    await _set_mode(double_brand, OptInMode.SINGLE)
    assert (await _subscribe(api, double_brand)).body["status"] == "confirmed"


@pytest.mark.parametrize("status", [BOUNCED, COMPLAINED])
async def test_bounced_and_complained_readers_are_returned_as_they_are(
    api: ApiUnderTest, brand: Tenant, status: SubscriberStatus
) -> None:
    topic = await brand.topic("weekly")
    subscriber = await brand.subscriber(status=status)
    before = await brand.row(), await brand.events()
    answer = await _subscribe(api, brand, first_name="Maria", topic_ids=[topic])
    assert answer.body == {"ok": True, "subscriber_id": subscriber, "status": status}
    assert (await brand.row(), await brand.events()) == before


async def test_topics_that_are_foreign_not_public_or_unknown_are_dropped(
    api: ApiUnderTest, make_brand: MakeTenant
) -> None:
    brand, other = await make_brand(), await make_brand()
    public = await brand.topic("weekly")
    private, foreign = await brand.topic("staff", public=False), await other.topic("weekly")
    await _subscribe(api, brand, topic_ids=[private, foreign, 10**18, public, public])
    assert (await brand.row())["topic_ids"] == [public]


async def test_topic_ids_replace_the_memberships(api: ApiUnderTest, brand: Tenant) -> None:
    one, two, three = [await brand.topic(slug) for slug in ("one", "two", "three")]
    await _subscribe(api, brand, topic_ids=[one, two])
    await _subscribe(api, brand, topic_ids=[three, two])
    assert (await brand.row())["topic_ids"] == [two, three]


async def test_an_empty_array_of_topic_ids_clears_the_memberships(api: ApiUnderTest, brand: Tenant) -> None:
    await _subscribe(api, brand, topic_ids=[await brand.topic("weekly")])
    await _subscribe(api, brand, topic_ids=[])
    assert (await brand.row())["topic_ids"] == []


async def test_without_topic_ids_the_memberships_stay(api: ApiUnderTest, brand: Tenant) -> None:
    topic = await brand.topic("weekly")
    await _subscribe(api, brand, topic_ids=[topic])
    await _subscribe(api, brand, first_name="Maria")
    assert (await brand.row())["topic_ids"] == [topic]


async def test_a_single_opt_in_signup_starts_the_drips_of_its_triggers(
    api: ApiUnderTest, brand: Tenant
) -> None:
    topic = await brand.topic("weekly")
    await brand.topic("daily")
    welcome = await brand.drip(AT_ONCE, trigger=DripTrigger.SUBSCRIBER_CONFIRMED, name="welcome")
    weekly = await brand.drip(AT_ONCE, trigger=DripTrigger.TOPIC_ADDED, topic="weekly", name="weekly")
    await brand.drip(AT_ONCE, trigger=DripTrigger.TOPIC_ADDED, topic="daily", name="daily")
    await brand.drip(AT_ONCE, name="manual")
    await _subscribe(api, brand, topic_ids=[topic])
    await brand.start_drips()
    assert [enrollment["drip_id"] for enrollment in await brand.enrollments()] == [welcome, weekly]


async def test_a_later_call_starts_the_drips_of_the_topics_that_it_adds(
    api: ApiUnderTest, brand: Tenant
) -> None:
    old, new = await brand.topic("old"), await brand.topic("new")
    await _subscribe(api, brand, topic_ids=[old])
    await brand.drip(AT_ONCE, trigger=DripTrigger.TOPIC_ADDED, topic="old", name="old")
    drip = await brand.drip(timedelta(days=1), trigger=DripTrigger.TOPIC_ADDED, topic="new", name="new")
    await brand.pool.execute("DELETE FROM outbox")
    await _subscribe(api, brand, topic_ids=[old, new])
    await brand.start_drips()
    assert [enrollment["drip_id"] for enrollment in await brand.enrollments()] == [drip]


async def test_with_the_first_confirmation_all_topics_of_the_subscriber_count(
    api: ApiUnderTest, double_brand: Tenant
) -> None:
    topic = await double_brand.topic("weekly")
    await double_brand.drip(AT_ONCE, trigger=DripTrigger.TOPIC_ADDED, topic="weekly")
    await _subscribe(api, double_brand, topic_ids=[topic])
    assert await double_brand.start_drips() == 0
    await _set_mode(double_brand, OptInMode.SINGLE)
    await _subscribe(api, double_brand)
    assert await double_brand.start_drips() == 1


async def test_many_signups_at_once_are_not_throttled(api: ApiUnderTest, brand: Tenant) -> None:
    for number in range(200):
        answer = await _subscribe(api, brand, email=f"reader-{number}@example.com")
        assert "Retry-After" not in answer.headers
    assert await brand.subscribers() == 200
