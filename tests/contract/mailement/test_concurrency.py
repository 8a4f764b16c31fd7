"""Calls that come at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

import pytest

from tests.support.api import ApiUnderTest
from tests.support.brands import AT_ONCE, READER, Tenant

T = TypeVar("T")


async def _together(calls: Iterable[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*calls))


@pytest.mark.parametrize("path", ["/api/v1/subscribe", "/api/v1/subscribers"])
async def test_identical_calls_make_one_subscriber_and_one_event(
    api: ApiUnderTest, brand: Tenant, path: str
) -> None:
    answers = await _together(api.post(path, {"email": READER}, key=brand.key) for _ in range(20))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["subscriber_id"] for answer in answers}) == 1
    assert (await brand.subscribers(), await brand.event_types()) == (1, ["subscriber.confirmed"])


async def test_only_one_of_many_callers_is_told_that_the_subscriber_is_new(
    api: ApiUnderTest, brand: Tenant
) -> None:
    answers = await _together(
        api.post("/api/v1/subscribers", {"email": READER}, key=brand.key) for _ in range(20)
    )
    told = sorted(answer.body["status"] for answer in answers)
    assert told == ["existing"] * 19 + ["subscribed"]


async def test_of_two_sets_of_topics_one_is_left_and_never_a_mixture(
    api: ApiUnderTest, brand: Tenant
) -> None:
    topics = [await brand.topic(f"topic-{number}") for number in range(6)]
    sets = [topics[:3], topics[3:]]
    left = []
    for round_ in range(40):
        email = f"reader-{round_}@example.com"
        await _together(
            api.post("/api/v1/subscribe", {"email": email, "topic_ids": chosen}, key=brand.key)
            for chosen in sets
        )
        left.append((await brand.row(email))["topic_ids"])
    assert all(found in sets for found in left)


async def test_of_two_sets_for_a_known_subscriber_one_is_left(api: ApiUnderTest, brand: Tenant) -> None:
    topics = [await brand.topic(f"topic-{number}") for number in range(6)]
    sets = [topics[:3], topics[3:]]
    await brand.subscriber()
    for _ in range(40):
        await _together(
            api.post("/api/v1/subscribe", {"email": READER, "topic_ids": chosen}, key=brand.key)
            for chosen in sets
        )
        assert (await brand.row())["topic_ids"] in sets


async def test_simultaneous_tag_changes_lose_nothing(api: ApiUnderTest, brand: Tenant) -> None:
    had = [await brand.topic(f"had-{number}") for number in range(10)]
    new = [await brand.topic(f"new-{number}") for number in range(10)]
    await brand.subscriber(topic_ids=tuple(had))
    answers = await _together(
        api.post(
            "/api/v1/subscribers/tags",
            {"email": READER, "add": [f"new-{number}"], "remove": [f"had-{number}"]},
            key=brand.key,
        )
        for number in range(10)
    )
    assert [(answer.body["added"], answer.body["removed"]) for answer in answers] == [
        ([added], [removed]) for added, removed in zip(new, had, strict=True)
    ]
    assert (await brand.row())["topic_ids"] == new
    assert (await brand.row())["version"] == 11


async def test_simultaneous_backfills_lose_nothing(api: ApiUnderTest, brand: Tenant) -> None:
    fields = {"first_name": "Maria", "last_name": "Costa", "city": "Lisbon"}
    await brand.subscriber()
    await _together(
        api.post("/api/v1/subscribe", {"email": READER, field: value}, key=brand.key)
        for field, value in fields.items()
    )
    row = await brand.row()
    assert {field: row[field] for field in fields} == fields


async def test_tags_that_are_added_while_signing_up_lose_nothing(api: ApiUnderTest, brand: Tenant) -> None:
    topics = [await brand.topic(f"topic-{number}") for number in range(10)]
    await _together(
        api.post("/api/v1/subscribers", {"email": READER, "tags": [f"topic-{number}"]}, key=brand.key)
        for number in range(10)
    )
    assert (await brand.row())["topic_ids"] == topics


async def test_simultaneous_enrolments_make_one_run(api: ApiUnderTest, brand: Tenant) -> None:
    drip = await brand.drip(AT_ONCE)
    await brand.subscriber()
    answers = await _together(
        api.post(f"/api/v1/drips/{drip}/enroll", {"email": READER}, key=brand.key) for _ in range(20)
    )
    assert sorted(answer.body["already_enrolled"] for answer in answers) == [False] + [True] * 19
    assert len(await brand.enrollments()) == 1
    assert await brand.event_types() == ["subscriber.confirmed", "drip.enrolled"]


async def test_simultaneous_unsubscribes_tell_one_event(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.subscriber()
    answers = await _together(
        api.post("/api/v1/subscribers/unsubscribe", {"email": READER}, key=brand.key) for _ in range(20)
    )
    assert {answer.status for answer in answers} == {200}
    assert await brand.event_types() == ["subscriber.confirmed", "subscriber.unsubscribed"]


async def test_signups_and_unsubscribes_take_turns_and_each_change_has_its_event(
    api: ApiUnderTest, brand: Tenant
) -> None:
    await brand.subscriber()
    await _together(
        api.post(path, {"email": READER}, key=brand.key)
        for _ in range(15)
        for path in ("/api/v1/subscribe", "/api/v1/subscribers/unsubscribe")
    )
    row, events = await brand.row(), await brand.events()
    by_version = sorted(events, key=lambda event: event["data"]["subscriber"]["version"])
    assert [event["data"]["subscriber"]["version"] for event in by_version] == list(
        range(1, row["version"] + 1)
    )
    assert by_version[-1]["type"] == f"subscriber.{row['status']}"


async def test_many_different_readers_at_once_are_all_taken(api: ApiUnderTest, brand: Tenant) -> None:
    topics = [await brand.topic(f"topic-{number}") for number in range(3)]
    answers = await _together(
        api.post("/api/v1/subscribe", {"email": f"{n}@example.com", "topic_ids": topics}, key=brand.key)
        for n in range(100)
    )
    assert {answer.status for answer in answers} == {200}
    assert (await brand.subscribers(), len(await brand.events())) == (100, 100)


async def test_unknown_slugs_from_many_calls_at_once_block_nobody(api: ApiUnderTest, brand: Tenant) -> None:
    slugs = [f"typo-{number}" for number in range(10)]
    answers = await _together(
        api.post(
            "/api/v1/subscribers",
            {"email": f"{n}@example.com", "tags": slugs if n % 2 else slugs[::-1]},
            key=brand.key,
        )
        for n in range(30)
    )
    assert {answer.status for answer in answers} == {200}
    assert await brand.unknown_slugs() == slugs
