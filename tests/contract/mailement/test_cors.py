"""What browsers may do (section 10)."""

from __future__ import annotations

import pytest

from tests.contract.mailement.endpoints import (
    ENDPOINTS,
    ENROLL,
    SUBSCRIBE,
    SUBSCRIBERS,
    TAGS,
    UNSUBSCRIBE,
    Endpoint,
    each,
)
from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import AT_ONCE, Tenant

ORIGIN = {"Origin": "https://form.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}
FOR_BROWSERS = (SUBSCRIBE, SUBSCRIBERS, ENROLL)
FOR_SERVERS = (UNSUBSCRIBE, TAGS)


def _cors(answer: Answer) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in answer.headers.items()
        if name.lower().startswith("access-control-")
    }


@each(*FOR_BROWSERS)
async def test_a_preflight_is_answered(api: ApiUnderTest, endpoint: Endpoint) -> None:
    answer = await api.request("OPTIONS", endpoint.path, headers=PREFLIGHT)
    cors = _cors(answer)
    allowed = {name.strip().lower() for name in cors["access-control-allow-headers"].split(",")}
    assert (answer.status, answer.raw, cors["access-control-allow-origin"]) == (204, b"", "*")
    assert "POST" in cors["access-control-allow-methods"]
    assert allowed >= {"authorization", "content-type", "x-newsletter-api-key"}


@each(*FOR_BROWSERS)
async def test_options_needs_neither_an_origin_nor_a_key(api: ApiUnderTest, endpoint: Endpoint) -> None:
    answer = await api.request("OPTIONS", endpoint.path)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")


@each(*FOR_BROWSERS)
async def test_a_success_may_be_read_from_anywhere(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    await brand.drip(AT_ONCE)
    await brand.subscriber()
    answer = await api.post(endpoint.path, endpoint.body, key=brand.key, headers=ORIGIN)
    assert (answer.status, _cors(answer)) == (200, {"access-control-allow-origin": "*"})


@each(*FOR_BROWSERS)
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b'{"email": "nobody"}', 422),
        (b"{", 400),
        (b"[]", 422),
        (b'"' + b"x" * 70_000 + b'"', 413),
    ],
    ids=["invalid email", "no JSON", "no object", "too large"],
)
async def test_an_error_may_be_read_from_anywhere(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, sent: bytes, status: int
) -> None:
    answer = await api.post(endpoint.path, raw=sent, key=brand.key, headers=ORIGIN)
    assert (answer.status, _cors(answer)) == (status, {"access-control-allow-origin": "*"})


@each(*FOR_BROWSERS)
async def test_a_refused_key_type_or_method_may_be_read_from_anywhere(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    answers = [
        await api.post(endpoint.path, endpoint.body),
        await api.post(endpoint.path, endpoint.body, key="mlm_live_no"),
        await api.post(endpoint.path, raw=b"a=b", key=brand.key, headers={"Content-Type": "text/plain"}),
        await api.request("GET", endpoint.path, key=brand.key),
    ]
    assert [answer.status for answer in answers] == [401, 401, 415, 405]
    assert [_cors(answer) for answer in answers] == [{"access-control-allow-origin": "*"}] * 4


async def test_a_fault_of_ours_may_be_read_from_anywhere(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.pool.execute("ALTER TABLE subscribers ADD CHECK (id < 0)")
    answer = await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key, headers=ORIGIN)
    assert (answer.status, _cors(answer)) == (500, {"access-control-allow-origin": "*"})


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/nothing", "/api/v2/subscribe"])
async def test_a_path_that_does_not_exist_may_be_read_from_anywhere(api: ApiUnderTest, path: str) -> None:
    missing = await api.post(path, {}, headers=ORIGIN)
    preflight = await api.request("OPTIONS", path, headers=PREFLIGHT)
    assert (missing.status, preflight.status) == (404, 204)
    assert _cors(missing) == {"access-control-allow-origin": "*"}
    assert _cors(preflight)["access-control-allow-origin"] == "*"


@each(*ENDPOINTS)
async def test_credentials_are_never_allowed(api: ApiUnderTest, brand: Tenant, endpoint: Endpoint) -> None:
    answers = [
        await api.request("OPTIONS", endpoint.path, headers=PREFLIGHT),
        await api.post(endpoint.path, endpoint.body, key=brand.key, headers=ORIGIN),
        await api.post(endpoint.path, endpoint.body, headers=ORIGIN),
        await api.post("/nothing", {}, headers=ORIGIN),
    ]
    assert not any("access-control-allow-credentials" in _cors(answer) for answer in answers)


@each(*FOR_SERVERS)
async def test_what_is_for_servers_has_no_cors(api: ApiUnderTest, brand: Tenant, endpoint: Endpoint) -> None:
    await brand.subscriber()
    answers = [
        await api.request("OPTIONS", endpoint.path, headers=PREFLIGHT),
        await api.post(endpoint.path, endpoint.body, key=brand.key, headers=ORIGIN),
        await api.post(endpoint.path, {}, key=brand.key, headers=ORIGIN),
    ]
    assert [(answer.status, _cors(answer)) for answer in answers] == [(405, {}), (200, {}), (422, {})]
