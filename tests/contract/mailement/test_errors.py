"""Codes, statuses and shapes of refusals (section 3, and what the README chose)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mailement_common.db.pool import close_pool, open_pool
from tests.contract.mailement.endpoints import (
    BY_SUBSCRIBER,
    ENDPOINTS,
    ENROLL,
    SIGNING_UP,
    SUBSCRIBE,
    SUBSCRIBERS,
    TAGS,
    UNSUBSCRIBE,
    Endpoint,
    each,
)
from tests.support.api import ApiUnderTest, api_settings, running_service, serve, unused_port
from tests.support.brands import AT_ONCE, READER, Tenant, count_rows
from tests.support.database import Database

# An address of 191 characters that would be fine but for its length.
LONG_EMAIL = f"{'r' * 60}@{'e' * 60}.{'e' * 60}.example"
LONG_EMAIL += "e" * (191 - len(LONG_EMAIL))


async def _refused(api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, body: object) -> tuple[int, str]:
    """The error, after a look that nothing was written."""
    before = await count_rows(brand.pool)
    answer = await api.post(endpoint.path, body, key=brand.key)
    assert await count_rows(brand.pool) == before
    return answer.error


@each(*ENDPOINTS)
async def test_an_error_has_the_family_the_code_and_a_sentence(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    answer = await api.post(endpoint.path, {"email": "nobody"}, key=brand.key)
    assert answer.body == {
        endpoint.family: False,
        "error": "invalid_email",
        "message": answer.body["message"],
    }
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body["message"].endswith(".")


@each(*ENDPOINTS)
async def test_a_missing_key_is_told_in_the_family_of_the_endpoint(
    api: ApiUnderTest, endpoint: Endpoint
) -> None:
    assert (await api.post(endpoint.path, endpoint.body)).body[endpoint.family] is False


async def test_only_a_failed_enrolment_has_a_reason(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.drip()
    await brand.subscriber()
    failed = await api.post(ENROLL.path, ENROLL.body, key=brand.key)
    assert set(failed.body) == {"ok", "error", "message", "reason"}
    assert (failed.status, failed.body["ok"], failed.body["error"]) == (422, False, "enroll_failed")


@each(*ENDPOINTS)
@pytest.mark.parametrize(
    "email",
    [
        "reader",
        "reader@example",
        "Reader <reader@example.com>",
        "reader@[192.0.2.1]",
        "re\x00ader@example.com",
        "@",
    ],
)
async def test_what_is_no_address_is_an_invalid_email(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, email: str
) -> None:
    body = {**endpoint.body, "email": email}
    assert await _refused(api, brand, endpoint, body) == (422, "invalid_email")


@each(*ENDPOINTS)
async def test_an_address_has_at_most_190_characters(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    assert len(LONG_EMAIL) == 191
    body = {**endpoint.body, "email": LONG_EMAIL}
    assert await _refused(api, brand, endpoint, body) == (422, "email_too_long")


async def test_an_address_of_190_characters_is_taken(api: ApiUnderTest, brand: Tenant) -> None:
    answer = await api.post(SUBSCRIBE.path, {"email": f"  {LONG_EMAIL[:190]}  "}, key=brand.key)
    assert answer.status == 200


@each(*SIGNING_UP)
@pytest.mark.parametrize("body", [{}, {"email": None}, {"email": ""}, {"email": "  "}, {"subscriber_id": 1}])
async def test_signing_up_needs_an_address(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, body: dict[str, object]
) -> None:
    assert await _refused(api, brand, endpoint, body) == (422, "invalid_email")


@each(*SIGNING_UP)
@pytest.mark.parametrize(("field", "most"), [("first_name", 80), ("last_name", 80), ("city", 120)], ids=str)
async def test_names_and_city_have_limits(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, field: str, most: int
) -> None:
    body = {"email": READER, field: "é" * (most + 1)}
    assert await _refused(api, brand, endpoint, body) == (422, f"{field}_too_long")


async def test_a_source_has_at_most_120_characters(api: ApiUnderTest, brand: Tenant) -> None:
    body = {"email": READER, "source": "s" * 121}
    assert await _refused(api, brand, SUBSCRIBERS, body) == (422, "source_too_long")


@each(*SIGNING_UP)
async def test_a_custom_field_has_at_most_1000_characters(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    body = {"email": READER, "custom_fields": {"genre": "x" * 1001}}
    assert await _refused(api, brand, endpoint, body) == (422, "custom_fields_too_long")


@each(*BY_SUBSCRIBER)
@pytest.mark.parametrize("who", [{}, {"email": None}, {"email": "", "subscriber_id": None}, {"email": "  "}])
async def test_somebody_has_to_be_named(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, who: dict[str, object]
) -> None:
    await brand.drip(AT_ONCE)
    assert await _refused(api, brand, endpoint, who) == (422, "missing_subscriber_identifier")


@each(*BY_SUBSCRIBER)
@pytest.mark.parametrize("who", [{"email": "nobody@example.com"}, {"subscriber_id": 2**63 - 1}])
async def test_who_is_not_there_is_not_found(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, who: dict[str, object]
) -> None:
    await brand.drip(AT_ONCE)
    await brand.topic("weekly")
    assert await _refused(api, brand, endpoint, {**who, "add": ["typo"]}) == (404, "subscriber_not_found")


async def test_a_drip_that_is_not_there_is_not_found(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.subscriber()
    assert await _refused(api, brand, ENROLL, ENROLL.body) == (404, "drip_not_found")


_IN_ORDER: list[tuple[Endpoint, list[tuple[str, Any, str]]]] = [
    (
        SUBSCRIBE,
        [
            ("email", "nobody", "invalid_email"),
            ("first_name", "f" * 81, "first_name_too_long"),
            ("last_name", 1, "invalid_last_name"),
            ("city", "c" * 121, "city_too_long"),
            ("topic_ids", "all", "invalid_topic_ids"),
            ("custom_fields", [], "invalid_custom_fields"),
        ],
    ),
    (
        SUBSCRIBERS,
        [
            ("email", LONG_EMAIL, "email_too_long"),
            ("first_name", True, "invalid_first_name"),
            ("source", "s" * 121, "source_too_long"),
            ("tags", [1], "invalid_tags"),
            ("auto_confirm", "yes", "invalid_auto_confirm"),
        ],
    ),
    (
        TAGS,
        [
            ("email", "nobody", "invalid_email"),
            ("add", "weekly", "invalid_add"),
            ("remove", {}, "invalid_remove"),
        ],
    ),
]


@pytest.mark.parametrize(
    ("endpoint", "faults"),
    [(endpoint, faults[first:]) for endpoint, faults in _IN_ORDER for first in range(len(faults))],
    ids=lambda value: value.path if isinstance(value, Endpoint) else value[0][0],
)
async def test_the_first_fault_in_the_order_of_the_documents_fields_is_reported(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, faults: list[tuple[str, Any, str]]
) -> None:
    body = {"email": READER, **{field: value for field, value, _ in reversed(faults)}}
    assert await _refused(api, brand, endpoint, body) == (422, faults[0][2])


@each(*ENDPOINTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_no_method_but_post_is_taken(api: ApiUnderTest, endpoint: Endpoint, method: str) -> None:
    answer = await api.request(method, endpoint.path)
    assert answer.status == 405
    assert answer.headers["Allow"] == ("POST, OPTIONS" if endpoint.cors else "POST")
    assert method == "HEAD" or answer.error == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/subscribe",
        "/api/v1/subscribe/",
        "/api/v1//subscribe",
        "/api/v1/Subscribe",
        "/api/v1/subscribers/41023",
        "/api/v1/subscribers/tags/",
        "/api/v1/drips//enroll",
        "/api/v1/drips/42/enroll/",
        "/api/v1/drips/4/2/enroll",
        "/api/v1/export",
        "/api/v1/webhooks/resend",
        "/favicon.ico",
        "/%00",
        "/%ff%fe",
        "/api/v1/../../etc/passwd",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_an_unknown_path_is_not_found_and_never_a_redirect(
    api: ApiUnderTest, brand: Tenant, method: str, path: str
) -> None:
    answer = await api.request(method, path, key=brand.key)
    assert answer.body == {"ok": False, "error": "not_found", "message": answer.body["message"]}
    assert answer.status == 404


async def test_asking_for_a_websocket_is_asking_with_get(database: Database) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with running_service(database.url) as service:
        known = await service.request("GET", SUBSCRIBE.path, headers=upgrade)
        unknown = await service.request("GET", "/nothing", headers=upgrade)
    assert (known.error, unknown.error) == ((405, "method_not_allowed"), (404, "not_found"))


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/healthz", "/readyz"])
async def test_pages_take_no_post_and_say_so_in_json(api: ApiUnderTest, path: str) -> None:
    answer = await api.post(path, {})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body["ok"] is False
    assert answer.error == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


@contextlib.asynccontextmanager
async def _api_without_database() -> AsyncIterator[ApiUnderTest]:
    settings = api_settings(f"postgresql://nobody@127.0.0.1:{unused_port()}/nothing")
    pool = await open_pool(settings, name="test")
    try:
        async with serve(pool, settings) as api:
            yield api
    finally:
        await close_pool(pool)


@each(*ENDPOINTS)
async def test_while_the_database_is_away_the_service_is_unavailable(endpoint: Endpoint) -> None:
    async with _api_without_database() as api:
        answer = await api.post(endpoint.path, endpoint.body, key="mlm_live_" + "0" * 32)
    assert answer.error == (503, "service_unavailable")
    assert (answer.headers["Retry-After"], answer.body[endpoint.family]) == ("1", False)


async def test_when_the_database_is_back_calls_succeed_again(api: ApiUnderTest, brand: Tenant) -> None:
    await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key)
    await brand.pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    answers = [
        (await api.post(SUBSCRIBE.path, {"email": f"{n}@example.com"}, key=brand.key)).status
        for n in range(30)
    ]
    assert set(answers) <= {200, 503}
    assert answers[-1] == 200


@each(UNSUBSCRIBE)
async def test_a_fault_of_ours_is_an_internal_error(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    await brand.subscriber()
    await brand.pool.execute("ALTER TABLE subscribers ADD CONSTRAINT no_way CHECK (status <> 'unsubscribed')")
    answer = await api.post(endpoint.path, endpoint.body, key=brand.key)
    assert answer.error == (500, "internal_error")
    assert "no_way" not in answer.raw.decode()
