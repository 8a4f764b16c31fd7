"""A brand never sees or touches another brand's rows."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg
import pytest

from tests.support.api import ApiUnderTest
from tests.support.brands import AT_ONCE, READER, MakeTenant, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Two brands that have the same reader and the same words. `drip` and `topic` are the neighbour's."""

    ours: Tenant
    theirs: Tenant
    drip: int
    topic: int

    async def their_rows(self) -> list[list[asyncpg.Record]]:
        return [[await self.theirs.row()], await self.theirs.events(), await self.theirs.enrollments()]


@pytest.fixture
async def neighbours(make_brand: MakeTenant) -> Neighbours:
    ours, theirs = await make_brand(), await make_brand()
    for brand in (ours, theirs):
        await brand.topic("weekly")
        await brand.field("genre")
    await theirs.subscriber(first_name="Maria", custom_fields={"genre": "essays"})
    return Neighbours(
        ours=ours, theirs=theirs, drip=await theirs.drip(AT_ONCE), topic=await theirs.topic("theirs")
    )


@pytest.mark.parametrize("path", ["/api/v1/subscribe", "/api/v1/subscribers"])
async def test_the_same_address_is_another_subscriber(
    api: ApiUnderTest, neighbours: Neighbours, path: str
) -> None:
    before = await neighbours.their_rows()
    body = {"email": READER, "last_name": "Costa", "topic_ids": [neighbours.topic], "tags": ["theirs"]}
    answer = await api.post(path, body, key=neighbours.ours.key)
    ours = await neighbours.ours.row()
    assert answer.body["subscriber_id"] == ours["id"] != before[0][0]["id"]
    assert (ours["first_name"], ours["topic_ids"]) == (None, [])
    assert await neighbours.their_rows() == before


@pytest.mark.parametrize(
    ("path", "more"),
    [("subscribers/unsubscribe", {}), ("subscribers/tags", {"add": ["weekly"]}), ("drips/{drip}/enroll", {})],
)
@pytest.mark.parametrize("by", ["email", "subscriber_id"])
async def test_their_subscriber_is_not_found(
    api: ApiUnderTest, neighbours: Neighbours, path: str, more: dict[str, object], by: str
) -> None:
    before = await neighbours.their_rows()
    drip = await neighbours.ours.drip(AT_ONCE)
    who = {"email": READER, "subscriber_id": before[0][0]["id"]}[by]
    answer = await api.post(f"/api/v1/{path.format(drip=drip)}", {by: who, **more}, key=neighbours.ours.key)
    assert answer.error == (404, "subscriber_not_found")
    assert (await neighbours.their_rows(), await neighbours.ours.events()) == (before, [])


async def test_their_drip_is_not_found_even_for_our_own_subscriber(
    api: ApiUnderTest, neighbours: Neighbours
) -> None:
    subscriber = await neighbours.ours.subscriber("ours@example.com")
    answer = await api.post(
        f"/api/v1/drips/{neighbours.drip}/enroll", {"subscriber_id": subscriber}, key=neighbours.ours.key
    )
    assert (answer.error, await neighbours.theirs.enrollments()) == ((404, "drip_not_found"), [])


async def test_a_tag_of_our_own_name_changes_nothing_of_theirs(
    api: ApiUnderTest, neighbours: Neighbours
) -> None:
    await neighbours.ours.subscriber()
    before = await neighbours.their_rows()
    answer = await api.post(
        "/api/v1/subscribers/tags", {"email": READER, "add": ["weekly", "theirs"]}, key=neighbours.ours.key
    )
    assert (len(answer.body["added"]), await neighbours.ours.unknown_slugs()) == (1, ["theirs"])
    assert (await neighbours.their_rows(), await neighbours.theirs.unknown_slugs()) == (before, [])


async def test_leaving_one_brand_is_leaving_no_other(api: ApiUnderTest, neighbours: Neighbours) -> None:
    await neighbours.ours.subscriber()
    before = await neighbours.their_rows()
    await api.post("/api/v1/subscribers/unsubscribe", {"email": READER}, key=neighbours.ours.key)
    assert (await neighbours.ours.row())["status"] == "unsubscribed"
    assert await neighbours.their_rows() == before


async def test_fields_that_only_they_have_defined_are_dropped(
    api: ApiUnderTest, neighbours: Neighbours
) -> None:
    await neighbours.theirs.field("secret")
    body = {"email": READER, "custom_fields": {"genre": "novels", "secret": "x"}}
    await api.post("/api/v1/subscribe", body, key=neighbours.ours.key)
    assert (await neighbours.ours.row())["custom_fields"] == {"genre": "novels"}
