"""Messages and their attempts over HTTP."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import pytest

from tests.contract.mailement.mails import Messages
from tests.support.api import ApiUnderTest
from tests.support.brands import MakeTenant, Tenant


@pytest.fixture
async def messages(api: ApiUnderTest, brand: Tenant) -> Messages:
    return await Messages.of(api, brand)


@pytest.fixture
async def stranger(api: ApiUnderTest, make_brand: MakeTenant) -> Messages:
    return await Messages.of(api, await make_brand())


async def test_messages_are_listed_in_pages(messages: Messages) -> None:
    made = [await messages.make() for _ in range(5)]
    first = await messages.get("/messages?limit=3")
    second = await messages.get(f"/messages?limit=3&cursor={first['cursor']}")
    assert [each["id"] for each in (*first["messages"], *second["messages"])] == made[::-1]
    assert second["cursor"] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=sent", True),
        ("state=failed", False),
        ("kind=drip", True),
        ("kind=campaign", False),
        ("subscriber_id=1", True),
        ("subscriber_id=2", False),
        ("drip_id=1", True),
        ("drip_id=2", False),
        ("state=sent&kind=drip&subscriber_id=1&drip_id=1", True),
        ("unknown=1", True),
    ],
)
async def test_a_list_is_narrowed_by_what_stands_behind_the_question_mark(
    messages: Messages, query: str, found: bool
) -> None:
    made = await messages.make()
    listed = (await messages.get(f"/messages?{query}"))["messages"]
    assert [each["id"] for each in listed] == ([made] if found else [])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("state=lost", "invalid_state"),
        ("kind=", "invalid_kind"),
        ("kind=%00", "invalid_kind"),
        ("subscriber_id=0", "invalid_subscriber_id"),
        ("subscriber_id=9223372036854775808", "invalid_subscriber_id"),
        ("drip_id=x", "invalid_drip_id"),
        ("drip_id=" + quote("١"), "invalid_drip_id"),
        ("limit=0", "invalid_limit"),
        ("limit=101", "invalid_limit"),
        ("cursor=", "invalid_cursor"),
        ("cursor=-1", "invalid_cursor"),
        ("cursor=%ff", "invalid_cursor"),
    ],
)
async def test_a_wrong_value_is_refused_by_its_name(messages: Messages, query: str, code: str) -> None:
    assert (await messages.call("GET", f"/messages?{query}")).error == (422, code)


async def test_a_message_is_shown_with_its_attempts(messages: Messages) -> None:
    made = await messages.make()
    shown = await messages.get(f"/messages/{made}")
    assert {key: shown["message"][key] for key in ("id", "state", "kind", "subject", "attempts")} == {
        "id": made,
        "state": "sent",
        "kind": "drip",
        "subject": "Hello",
        "attempts": 2,
    }
    assert [(each["number"], each["outcome"], each["code"]) for each in shown["attempts"]] == [
        (1, "retry", "500"),
        (2, "sent", None),
    ]
    moment = shown["attempts"][0]["started_at"]
    assert datetime.fromisoformat(moment).utcoffset() is not None


async def test_no_brand_finds_anothers_mail_by_a_subscriber(messages: Messages, stranger: Messages) -> None:
    await messages.make()
    assert (await stranger.get("/messages?subscriber_id=1"))["messages"] == []
