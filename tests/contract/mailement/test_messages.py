"""Messages and their attempts over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from openapi_schema_validator import OAS31Validator

from mailement_api.dialects.mailement.messages.routes import DEEDS
from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import MakeTenant, Tenant

PATHS = {path: f"/api/v1{path}" for path in DEEDS}


class Messages:
    """A brand's messages over HTTP, and short ways to have some."""

    def __init__(self, api: ApiUnderTest, brand: Tenant) -> None:
        self.api = api
        self.brand = brand

    async def call(self, path: str, method: str = "GET") -> Answer:
        return await self.api.request(method, f"/api/v1{path}", key=self.brand.key)

    async def get(self, path: str) -> Any:
        answer = await self.call(path)
        assert answer.status == 200, answer.raw
        assert answer.body["success"] is True
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.body

    async def make(self, state: str = "sent", kind: str = "drip", subscriber: int = 1, drip: int = 1) -> int:
        made: int = await self.brand.pool.fetchval(
            """INSERT INTO messages (brand_id, subscriber_id, kind, drip_id, dedupe_key, state, payload, provider, attempts)
            VALUES ($1, $2, $3, $4, gen_random_uuid()::text, $5, '{"subject": "Hello"}', 'resend', 2) RETURNING id""",
            self.brand.id,
            subscriber,
            kind,
            drip,
            state,
        )
        await self.brand.pool.execute(
            """INSERT INTO message_attempts (message_id, number, started_at, provider, outcome, code, reason, duration_ms)
            VALUES ($1, 1, now(), 'resend', 'retry', '500', '500 application_error: no', 12),
            ($1, 2, now(), 'resend', 'sent', NULL, NULL, 34)""",
            made,
        )
        return made


@pytest.fixture
def messages(api: ApiUnderTest, brand: Tenant) -> Messages:
    return Messages(api, brand)


@pytest.fixture
async def stranger(api: ApiUnderTest, make_brand: MakeTenant) -> Messages:
    return Messages(api, await make_brand())


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
    assert (await messages.call(f"/messages?{query}")).error == (422, code)


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


async def test_no_brand_sees_anothers_mail(messages: Messages, stranger: Messages) -> None:
    made = await messages.make()
    assert (await stranger.call(f"/messages/{made}")).error == (404, "message_not_found")
    assert (await stranger.get("/messages"))["messages"] == []
    assert (await stranger.get("/messages?subscriber_id=1"))["messages"] == []


@pytest.mark.parametrize("damaged", ["0", "-1", "1.0", "x", "%00", "1%20", "9" * 30, quote("١")])
async def test_an_id_that_is_none_is_not_found(messages: Messages, damaged: str) -> None:
    await messages.make()
    assert (await messages.call(f"/messages/{damaged}")).error == (404, "message_not_found")


@pytest.mark.parametrize("path", DEEDS)
async def test_nobody_comes_in_without_a_key_or_by_another_method(messages: Messages, path: str) -> None:
    path = path.replace("{id}", "1")
    assert (await messages.api.request("GET", f"/api/v1{path}")).error == (401, "missing_api_key")
    wrong = await messages.api.request("GET", f"/api/v1{path}", key="mlm_live_" + "0" * 32)
    assert wrong.error == (401, "invalid_api_key")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await messages.call(path, method)
        assert (answer.error, answer.headers["Allow"]) == ((405, "method_not_allowed"), "GET")


async def test_answers_are_as_they_are_described(messages: Messages) -> None:
    made = await messages.make()
    described = (await messages.api.request("GET", "/openapi.json")).body["paths"]
    for path, asked in (("/messages", "/messages"), ("/messages/{id}", f"/messages/{made}")):
        operation: Mapping[str, Any] = described[PATHS[path]]["get"]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        OAS31Validator(schema).validate(await messages.get(asked))
