"""What holds for each path and method: keys, methods, isolation, bad input, the log, the description."""

from __future__ import annotations

import json
import re
import string
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from structlog.testing import capture_logs

from tests.contract.mailement.webhooks.hooks import BASE, BODIES, CALLS, METHODS, URL, Hooks
from tests.support.api import Answer, ApiUnderTest
from tests.support.delivery_ledger import failed

_DAMAGE = (
    "",
    "0",
    "-1",
    "1.0",
    "x",
    "%00",
    "%ff",
    "%2e%2e",
    "1%20",
    "9223372036854775807",
    "9" * 30,
    quote("١"),
)


def _each_call(*methods: str) -> pytest.MarkDecorator:
    calls = [call for call in CALLS if not methods or call[0] in methods]
    return pytest.mark.parametrize(("method", "path"), calls)


async def _furnish(hooks: Hooks) -> dict[str, int]:
    """Something that each path can be about."""
    endpoint = await hooks.make()
    await hooks.ledger.happens(1)
    (claimed,) = (await hooks.ledger.claim()).deliveries
    await hooks.ledger.record(failed(claimed))
    replay = (await hooks.post("/replays"))["replay"]
    return {"endpoints": endpoint["id"], "deliveries": claimed.id, "replays": replay["id"]}


def _about(path: str, ids: dict[str, int]) -> str:
    return path.replace("{id}", str(ids.get(path.split("/")[1], 0)))


async def _state(hooks: Hooks) -> list[Any]:
    """All that a call could change."""
    return [
        await hooks.brand.pool.fetch(f"SELECT t::text FROM {table} AS t ORDER BY 1")
        for table in (
            "webhook_endpoints",
            "webhook_replays",
            "deliveries",
            "delivery_queue",
            "delivery_payloads",
        )
    ]


@_each_call()
async def test_nobody_comes_in_without_a_key(hooks: Hooks, method: str, path: str) -> None:
    bare = await hooks.api.request(method, BASE + path.replace("{id}", "1"))
    wrong = await hooks.api.request(method, BASE + path.replace("{id}", "1"), key="mlm_live_" + "0" * 32)
    other = await hooks.api.request(
        method, BASE + path.replace("{id}", "1"), headers={"X-Newsletter-Api-Key": hooks.brand.key}
    )

    assert (bare.error, wrong.error) == ((401, "missing_api_key"), (401, "invalid_api_key"))
    assert other.error == (401, "missing_api_key")
    assert bare.headers["WWW-Authenticate"] == "Bearer"
    assert bare.body["success"] is False


@pytest.mark.parametrize("path", METHODS)
async def test_other_methods_are_told_which_there_are(hooks: Hooks, path: str) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - set(METHODS[path]):
        answer = await hooks.api.request(method, BASE + path.replace("{id}", "1"))
        assert answer.error == (405, "method_not_allowed")
        assert answer.headers["Allow"] == ", ".join(METHODS[path])
        assert "Access-Control-Allow-Origin" not in answer.headers


@_each_call()
async def test_no_brand_reaches_what_belongs_to_another(
    hooks: Hooks, stranger: Hooks, method: str, path: str
) -> None:
    ids = await _furnish(hooks)
    before = await _state(hooks)
    answer = await stranger.call(method, _about(path, ids), BODIES.get((method, path)))

    if "{id}" in path:
        assert answer.status == 404, answer.raw
        assert await _state(hooks) == before
    else:
        assert not _mentions(answer.body, ids, path)


def _mentions(body: Any, ids: dict[str, int], path: str) -> bool:
    listed = body.get(path.strip("/")) or []
    return any(each.get("id") == ids.get(path.strip("/")) for each in listed)


@_each_call()
async def test_an_id_that_is_none_is_not_found(hooks: Hooks, method: str, path: str) -> None:
    if "{id}" not in path:
        return
    await _furnish(hooks)
    before = await _state(hooks)
    for damaged in _DAMAGE:
        answer = await hooks.call(method, path.replace("{id}", damaged), BODIES.get((method, path)))
        assert answer.status == 404, (damaged, answer.raw)
    assert await _state(hooks) == before


@_each_call("POST", "PATCH")
@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"{", (400, "invalid_json")),
        (b"\xff", (400, "invalid_json")),
        (b'{"a": 1, "a": 1}', (400, "invalid_json")),
        (b"[]", (422, "invalid_body")),
        (b"null", (422, "invalid_body")),
        (b" " * 65_537, (413, "body_too_large")),
    ],
)
async def test_a_body_that_is_none_is_refused(
    hooks: Hooks, method: str, path: str, sent: bytes, error: tuple[int, str]
) -> None:
    answer = await hooks.call(method, path.replace("{id}", "1"), raw=sent)
    assert answer.error == error


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = st.sampled_from(
    [
        *("url", "profile", "event_types", "description", "retries", "ordered", "max_in_flight"),
        *("rate_per_second", "drain", "endpoint_id", "types", "outcomes", "from", "until", "dry_run"),
    ]
)
_PARAMETERS = st.sampled_from(["state", "endpoint_id", "type", "from", "until", "cursor", "limit", "after"])
_TEXTS = st.text(max_size=12) | st.text(string.digits + "-:TZ+. ", max_size=25)


@pytest.mark.parametrize(("method", "path"), CALLS)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    document=st.dictionaries(_FIELDS, _VALUES, max_size=4),
    query=st.lists(st.tuples(_PARAMETERS, _TEXTS), max_size=3),
    identity=st.sampled_from(["1", "2"]) | st.text(max_size=8),
)
async def test_nothing_that_is_sent_makes_a_fault_of_ours(
    hooks: Hooks,
    method: str,
    path: str,
    document: dict[str, Any],
    query: list[tuple[str, str]],
    identity: str,
) -> None:
    target = path.replace("{id}", quote(identity, safe=""))
    behind = "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
    # Unlike orjson it writes long integers and NaN too.
    body = json.dumps({**BODIES.get((method, path), {}), **document}).encode()
    if not hooks.ledger.endpoints:
        await _furnish(hooks)
    answer = await hooks.call(method, f"{target}?{behind}", raw=body if method in {"POST", "PATCH"} else None)

    assert answer.status < 500, answer.raw
    assert answer.status == 200 or answer.body["error"]


async def test_neither_urls_nor_secrets_nor_keys_are_told_in_the_log(hooks: Hooks) -> None:
    with capture_logs() as lines:
        made = await hooks.post("/endpoints", {"url": f"{URL}?token=geheim"})
        staged = await hooks.post("/endpoints/1/secret/stage")
        await hooks.patch("/endpoints/1", {"url": f"{URL}/geheim"})
        await hooks.call("POST", "/endpoints", {"url": "http://geheim:geheim@receiver.example/"})
        await hooks.call("GET", "/deliveries?cursor=geheim")

    told = repr(lines)
    assert len(lines) == 5
    words = ("geheim", "receiver.example", made["secret"], staged["secret"], hooks.brand.key)
    assert [word for word in words if word in told] == []
    assert lines[1]["endpoint"] == "/api/v1/webhooks/endpoints/{id}/secret/stage"
    assert (lines[1]["endpoint_id"], lines[1]["brand_id"]) == (1, hooks.brand.id)


async def _openapi(api: ApiUnderTest) -> Any:
    return (await api.request("GET", "/openapi.json")).body


async def test_every_path_and_method_is_described(api: ApiUnderTest) -> None:
    paths = (await _openapi(api))["paths"]
    described = {
        path.removeprefix(BASE): tuple(sorted(method.upper() for method in methods))
        for path, methods in paths.items()
        if path.startswith(BASE)
    }
    assert described == METHODS


def _fits(schema: Any, description: Any, value: Any) -> None:
    OAS31Validator({**schema, "components": description["components"]}).validate(value)


def _described(operation: Any, answer: Answer) -> Any:
    return operation["responses"][str(answer.status)]


@_each_call()
async def test_answers_and_errors_are_as_they_are_described(hooks: Hooks, method: str, path: str) -> None:
    description = await _openapi(hooks.api)
    operation = description["paths"][BASE + path][method.lower()]
    ids = await _furnish(hooks)
    if path.endswith(("promote", "rollback")):
        await hooks.post("/endpoints/1/secret/stage")
    if path.endswith("retire"):
        await hooks.post("/endpoints/1/secret/stage")
        await hooks.post("/endpoints/1/secret/promote")
    sent = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if sent:
        _fits(sent["schema"], description, sent["example"])
    good = await hooks.call(method, _about(path, ids), sent and sent["example"])
    missing = await hooks.call(
        method, path.replace("{id}", "404") + "?limit=x&after=x", sent and sent["example"]
    )

    assert good.status == 200, good.raw
    for answer in (good, missing):
        described = _described(operation, answer)
        _fits(described["content"]["application/json"]["schema"], description, answer.body)
        if answer.status != 200:
            codes = re.findall(r"^`(\w+)`", described["description"], re.MULTILINE)
            assert answer.body["error"] in codes


async def test_the_page_shows_every_path(api: ApiUnderTest) -> None:
    page = (await api.request("GET", "/docs")).raw.decode()
    assert [path for path in METHODS if f"<code>{BASE}{path}</code>" not in page] == []
