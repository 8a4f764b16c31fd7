"""Every example of the document, sent as it is printed there; only host and key are ours."""

from __future__ import annotations

import json

import pytest

from mailement_newsletter.rules.lifecycle import OptInMode
from tests.support.api import ApiUnderTest
from tests.support.brands import AT_ONCE, READER, MakeTenant, Tenant

SUBSCRIBE = """
POST /api/v1/subscribe
Authorization: Bearer mlm_live_...
Content-Type: application/json

{
  "email": "reader@example.com",
  "first_name": "Maria",
  "last_name":  "Costa",
  "city":       "Lisbon",
  "topic_ids":  [12, 17],
  "custom_fields": {
    "favorite_genre": "essays",
    "referral_source": "twitter"
  }
}
"""

SUBSCRIBED = """
{
  "ok": true,
  "subscriber_id": 41023,
  "status": "pending"
}
"""

SUBSCRIBERS = """
POST /api/v1/subscribers
Authorization: Bearer mlm_live_...
Content-Type: application/json

{
  "email":      "reader@example.com",
  "first_name": "Maria",
  "source":     "homepage_form",
  "tags":       ["weekly-digest", "deep-dives"],
  "auto_confirm": false
}
"""

TAG_SUBSCRIBED = """
{
  "success": true,
  "subscriber_id": 41023,
  "status": "pending_confirmation"
}
"""

UNSUBSCRIBE = """
POST /api/v1/subscribers/unsubscribe
Authorization: Bearer mlm_live_...
Content-Type: application/json

{ "email": "reader@example.com" }
"""

UNSUBSCRIBED = """
{ "success": true, "subscriber_id": 41023 }
"""

TAGS = """
POST /api/v1/subscribers/tags
Authorization: Bearer mlm_live_...
Content-Type: application/json

{
  "email":  "reader@example.com",
  "add":    ["weekly-digest"],
  "remove": ["deep-dives"]
}
"""

TAGS_CHANGED = """
{
  "success": true,
  "subscriber_id": 41023,
  "added":   [12],
  "removed": [17]
}
"""

ENROLL = """
POST /api/v1/drips/42/enroll
Authorization: Bearer mlm_live_...
Content-Type: application/json

{ "email": "reader@example.com" }
"""

ENROLLED = """
{
  "ok": true,
  "subscriber_id": 41023,
  "drip_id": 42,
  "already_enrolled": false
}
"""


async def _send(api: ApiUnderTest, brand: Tenant, printed: str) -> tuple[int, object]:
    head, _, body = printed.strip().partition("\n\n")
    request, *lines = head.replace("mlm_live_...", brand.key).splitlines()
    method, path = request.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    answer = await api.request(method, path, raw=body.encode(), headers=headers)
    return answer.status, answer.body


@pytest.fixture
async def documented_brand(make_brand: MakeTenant) -> Tenant:
    """A double opt-in brand in which the document's ids mean what the document says."""
    brand = await make_brand(opt_in=OptInMode.DOUBLE)
    for table, first in (("topics", 12), ("subscribers", 41023), ("drips", 42)):
        await brand.pool.execute(f"ALTER TABLE {table} ALTER COLUMN id RESTART WITH {first}")
    assert await brand.topic("weekly-digest") == 12
    await brand.pool.execute("ALTER TABLE topics ALTER COLUMN id RESTART WITH 17")
    assert await brand.topic("deep-dives") == 17
    assert await brand.drip(AT_ONCE) == 42
    for field in ("favorite_genre", "referral_source"):
        await brand.field(field)
    return brand


async def test_the_example_of_subscribe(api: ApiUnderTest, documented_brand: Tenant) -> None:
    assert await _send(api, documented_brand, SUBSCRIBE) == (200, json.loads(SUBSCRIBED))
    row = await documented_brand.row()
    assert (row["first_name"], row["last_name"], row["city"]) == ("Maria", "Costa", "Lisbon")
    assert (row["email"], row["topic_ids"]) == (READER, [12, 17])
    assert row["custom_fields"] == {"favorite_genre": "essays", "referral_source": "twitter"}


async def test_the_example_of_subscribers(api: ApiUnderTest, documented_brand: Tenant) -> None:
    assert await _send(api, documented_brand, SUBSCRIBERS) == (200, json.loads(TAG_SUBSCRIBED))
    row = await documented_brand.row()
    assert (row["first_name"], row["source"], row["topic_ids"]) == ("Maria", "homepage_form", [12, 17])


async def test_the_example_of_unsubscribe(api: ApiUnderTest, documented_brand: Tenant) -> None:
    await documented_brand.subscriber()
    assert await _send(api, documented_brand, UNSUBSCRIBE) == (200, json.loads(UNSUBSCRIBED))


async def test_the_example_of_tags(api: ApiUnderTest, documented_brand: Tenant) -> None:
    await documented_brand.subscriber(topic_ids=(17,))
    assert await _send(api, documented_brand, TAGS) == (200, json.loads(TAGS_CHANGED))


async def test_the_example_of_enroll(api: ApiUnderTest, documented_brand: Tenant) -> None:
    await documented_brand.subscriber()
    assert await _send(api, documented_brand, ENROLL) == (200, json.loads(ENROLLED))


async def test_the_examples_one_after_the_other(api: ApiUnderTest, documented_brand: Tenant) -> None:
    answers = [
        await _send(api, documented_brand, printed)
        for printed in (SUBSCRIBE, SUBSCRIBERS, TAGS, ENROLL, UNSUBSCRIBE, ENROLL)
    ]
    assert [status for status, _ in answers] == [200] * 6
    assert answers[1][1] == {**json.loads(TAG_SUBSCRIBED), "status": "existing"}
    assert answers[5][1] == {**json.loads(ENROLLED), "already_enrolled": True}
