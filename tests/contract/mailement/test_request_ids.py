"""Every answer carries the id of its request, and every request belongs to a trace."""

from __future__ import annotations

import re

import pytest

from tests.contract.mailement.endpoints import SUBSCRIBE
from tests.support.api import ApiUnderTest
from tests.support.brands import Tenant

MADE = re.compile(r"[0-9a-f]{24}")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("offered", ["abc-123", "A.b_C-9", "x", "0" * 128])
async def test_the_callers_id_is_echoed(api: ApiUnderTest, brand: Tenant, offered: str) -> None:
    answer = await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key, headers={"X-Request-ID": offered})
    assert answer.headers.getall("X-Request-ID") == [offered]


async def test_a_call_without_one_gets_one_of_its_own(api: ApiUnderTest, brand: Tenant) -> None:
    answers = [await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key) for _ in range(2)]
    one, other = (answer.headers["X-Request-ID"] for answer in answers)
    assert MADE.fullmatch(one)
    assert one != other


@pytest.mark.parametrize(
    "harmful",
    ["", " ", "a b", "a\tb", "a;b", "<script>", "ü", "x" * 129, '{"a":1}', "a/b", "%0d%0aSet-Cookie:x"],
)
async def test_a_harmful_id_is_replaced(api: ApiUnderTest, brand: Tenant, harmful: str) -> None:
    answer = await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key, headers={"X-Request-ID": harmful})
    assert MADE.fullmatch(answer.headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v1/subscribe", 401),
        ("GET", "/api/v1/subscribe", 405),
        ("OPTIONS", "/api/v1/subscribe", 204),
        ("POST", "/api/v1/nothing", 404),
        ("GET", "/nothing", 404),
        ("GET", "/docs", 200),
        ("GET", "/healthz", 200),
    ],
)
async def test_errors_and_pages_carry_it_too(api: ApiUnderTest, method: str, path: str, status: int) -> None:
    answer = await api.request(method, path, headers={"X-Request-ID": "mine"})
    assert (answer.status, answer.headers["X-Request-ID"]) == (status, "mine")


async def test_a_fault_of_ours_carries_it_too(api: ApiUnderTest, brand: Tenant) -> None:
    await brand.pool.execute("ALTER TABLE subscribers ADD CHECK (id < 0)")
    answer = await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key, headers={"X-Request-ID": "mine"})
    assert (answer.status, answer.headers["X-Request-ID"]) == (500, "mine")


async def test_a_body_that_is_not_read_to_its_end_carries_it_too(api: ApiUnderTest, brand: Tenant) -> None:
    answer = await api.post(
        SUBSCRIBE.path, raw=b"x" * 70_000, key=brand.key, headers={"X-Request-ID": "mine"}
    )
    assert (answer.status, answer.headers["X-Request-ID"]) == (413, "mine")


async def test_the_callers_trace_goes_into_the_outbox(api: ApiUnderTest, brand: Tenant) -> None:
    await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key, headers={"traceparent": TRACEPARENT})
    (event,) = await brand.events()
    assert event["traceparent"] == TRACEPARENT


@pytest.mark.parametrize(
    "offered",
    [
        None,
        "",
        "garbage",
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        "ff" + TRACEPARENT[2:],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
    ],
)
async def test_without_a_proper_trace_a_new_one_begins(
    api: ApiUnderTest, brand: Tenant, offered: str | None
) -> None:
    headers = {} if offered is None else {"traceparent": offered}
    await api.post(SUBSCRIBE.path, SUBSCRIBE.body, key=brand.key, headers=headers)
    (event,) = await brand.events()
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", event["traceparent"])
    assert event["traceparent"] != offered
