"""What a request leaves in the log, and what it never leaves there."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.contract.mailement.endpoints import ENDPOINTS, SUBSCRIBERS, Endpoint, each
from tests.support.api import ApiUnderTest
from tests.support.brands import AT_ONCE, READER, Tenant


def _of(lines: list[Any], event: str) -> list[Any]:
    return [line for line in lines if line["event"] == event]


@each(*ENDPOINTS)
async def test_one_line_tells_of_each_request(api: ApiUnderTest, brand: Tenant, endpoint: Endpoint) -> None:
    await brand.drip(AT_ONCE)
    subscriber = await brand.subscriber()
    with capture_logs() as lines:
        await api.post(endpoint.path, endpoint.body, key=brand.key)
    (line,) = _of(lines, "request.completed")
    assert (line["status"], line["brand_id"], line["subscriber_id"]) == (200, brand.id, subscriber)
    assert line["endpoint"] == endpoint.path.replace("drips/1", "drips/{id}")


async def test_the_line_of_a_refusal_names_its_code(api: ApiUnderTest, brand: Tenant) -> None:
    with capture_logs() as lines:
        await api.post(SUBSCRIBERS.path, {"email": "nobody"}, key=brand.key)
        await api.post(SUBSCRIBERS.path, SUBSCRIBERS.body)
        await api.post("/nothing", {})
    told = [(line["status"], line["error"]) for line in _of(lines, "request.completed")]
    assert told == [(422, "invalid_email"), (401, "missing_api_key"), (404, "not_found")]


async def test_unknown_slugs_are_told(api: ApiUnderTest, brand: Tenant) -> None:
    with capture_logs() as lines:
        await api.post(SUBSCRIBERS.path, {"email": READER, "tags": ["weakly"]}, key=brand.key)
    (line,) = _of(lines, "topic.unknown")
    assert (line["brand_id"], line["slug"], line["log_level"]) == (brand.id, "weakly", "warning")


@each(*ENDPOINTS)
@pytest.mark.parametrize("mangled", [b"", b"}", b"\xff"], ids=["good", "no JSON", "no UTF-8"])
async def test_neither_addresses_nor_keys_are_told(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, mangled: bytes
) -> None:
    await brand.drip(AT_ONCE)
    body = b'{"email": "secret.reader@example.com", "first_name": "Scheherazade"}' + mangled
    with capture_logs() as lines:
        await api.post(endpoint.path, raw=body, key=brand.key)
        await api.post(f"{endpoint.path}/secret.reader@example.com?key={brand.key}", raw=body, key=brand.key)
    assert lines
    told = repr(lines)
    assert not [word for word in ("secret", "Scheherazade", brand.key) if word in told]


async def test_probes_leave_no_line(api: ApiUnderTest) -> None:
    with capture_logs() as lines:
        await api.request("GET", "/healthz")
        await api.request("GET", "/readyz")
    assert _of(lines, "request.completed") == []
