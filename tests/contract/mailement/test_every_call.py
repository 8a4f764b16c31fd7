"""What holds for each path and method of ours: keys, methods, isolation, bad input, the log, the description."""

from __future__ import annotations

import asyncio
import json
import re
import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator
from structlog.testing import capture_logs

from tests.contract.mailement.drips.series import DRIPS
from tests.contract.mailement.mails import MESSAGES
from tests.contract.mailement.surface import API, MOST_BYTES, Body, Caller, Surface
from tests.contract.mailement.webhooks.hooks import WEBHOOKS
from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import MakeTenant, Tenant

_SURFACES = (WEBHOOKS, DRIPS, MESSAGES)
_DAMAGE = (
    *("", "0", "-1", "1.0", "x", "%00", "%ff", "%2e%2e", "1%20", quote("١")),
    *(str(2**63 - 1), str(2**63), "9" * 40),
)
_WITH_BODY = ("PATCH", "POST", "PUT")
_METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
# What the document has, and has elsewhere.
_DOCUMENTED = {"/drips/{id}/enroll"}


def _each_surface() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("surface", _SURFACES, ids=lambda surface: surface.name)


def _each_path() -> pytest.MarkDecorator:
    paths = [(surface, path) for surface in _SURFACES for path in surface.methods]
    return pytest.mark.parametrize(("surface", "path"), paths, ids=[path for _, path in paths])


def _each_call(*methods: str, with_id: bool = False) -> pytest.MarkDecorator:
    calls = [
        (surface, method, path)
        for surface in _SURFACES
        for path, there in surface.methods.items()
        for method in there
        if (not methods or method in methods) and ("{id}" in path or not with_id)
    ]
    return pytest.mark.parametrize(
        ("surface", "method", "path"), calls, ids=[f"{method} {path}" for _, method, path in calls]
    )


def _about(surface: Surface, path: str, ids: Mapping[str, int]) -> str:
    noun = path.partition("/{id}")[0].rpartition("/")[2]
    return path.replace("{id}", str(ids.get(noun, 0))) + surface.queries.get(path, "")


async def _send(
    caller: Caller, method: str, path: str, body: Body | None = None, *, raw: bytes | None = None
) -> Answer:
    """Below `/api/v1`, whatever the caller's paths are below."""
    sent = raw if body is None else json.dumps(body).encode()
    return await caller.api.request(method, API + path, raw=sent, key=caller.key)


async def _state(surface: Surface, caller: Caller) -> list[Any]:
    """All that a call could change."""
    pool = caller.brand.pool
    return [await pool.fetch(f"SELECT t::text FROM {table} AS t ORDER BY 1") for table in surface.tables]


async def _rows_of(surface: Surface, caller: Caller) -> list[Any]:
    """What of it is the caller's own."""
    return [
        await caller.brand.pool.fetch(
            f"SELECT t::text FROM {table} AS t WHERE to_jsonb(t) ->> 'brand_id' = $1 ORDER BY 1",
            str(caller.brand.id),
        )
        for table in surface.tables
    ]


@_each_call()
async def test_nobody_comes_in_without_a_key(
    api: ApiUnderTest, brand: Tenant, surface: Surface, method: str, path: str
) -> None:
    target = API + path.replace("{id}", "1")
    bare = await api.request(method, target)
    wrong = await api.request(method, target, key="mlm_live_" + "0" * 32)
    other = await api.request(method, target, headers={"X-Newsletter-Api-Key": brand.key})
    assert (bare.error, wrong.error) == ((401, "missing_api_key"), (401, "invalid_api_key"))
    assert other.error == (401, "missing_api_key")
    assert bare.headers["WWW-Authenticate"] == "Bearer"
    assert bare.body["success"] is False


@_each_path()
async def test_other_methods_are_told_which_there_are(api: ApiUnderTest, surface: Surface, path: str) -> None:
    for method in _METHODS - set(surface.methods[path]):
        answer = await api.request(method, API + path.replace("{id}", "1"))
        assert answer.error == (405, "method_not_allowed")
        assert answer.headers["Allow"] == ", ".join(surface.methods[path])
        assert "Access-Control-Allow-Origin" not in answer.headers


@_each_call("GET")
async def test_every_key_reads(
    api: ApiUnderTest, brand: Tenant, surface: Surface, method: str, path: str
) -> None:
    caller = await surface.caller.of(api, brand)
    target = API + _about(surface, path, await caller.furnish())
    assert (await api.request(method, target, key=brand.key)).status == 200


@_each_call()
async def test_no_brand_reaches_what_belongs_to_another(
    api: ApiUnderTest, brand: Tenant, make_brand: MakeTenant, surface: Surface, method: str, path: str
) -> None:
    caller = await surface.caller.of(api, brand)
    # Of another account.
    await make_brand()
    stranger = await surface.caller.of(api, await make_brand())
    ids = await caller.furnish()
    everything, ours = await _state(surface, caller), await _rows_of(surface, caller)
    answer = await _send(stranger, method, _about(surface, path, ids), surface.bodies.get((method, path)))
    assert await _rows_of(surface, caller) == ours
    if "{id}" in path:
        assert answer.status == 404, answer.raw
        assert await _state(surface, caller) == everything
    noun = path.rpartition("/")[2]
    assert ids.get(noun) not in [each["id"] for each in answer.body.get(noun) or []]


@_each_call(with_id=True)
async def test_an_id_that_is_none_is_not_found(
    api: ApiUnderTest, brand: Tenant, surface: Surface, method: str, path: str
) -> None:
    caller = await surface.caller.of(api, brand)
    await caller.furnish()
    before = await _state(surface, caller)
    for damaged in _DAMAGE:
        answer = await _send(
            caller, method, path.replace("{id}", damaged), surface.bodies.get((method, path))
        )
        assert answer.status == 404, (damaged, answer.raw)
    assert await _state(surface, caller) == before


@_each_call(*_WITH_BODY)
@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"{", (400, "invalid_json")),
        (b"\xff", (400, "invalid_json")),
        (b'{"a": 1, "a": 1}', (400, "invalid_json")),
        (b'{"a": "\\ud800"}', (400, "invalid_json")),
        (b'{"a": ' + b"[" * 32 + b"]" * 32 + b"}", (400, "invalid_json")),
        (b"[]", (422, "invalid_body")),
        (b"null", (422, "invalid_body")),
    ],
    ids=["cut", "not UTF-8", "a key twice", "a surrogate", "deep", "a list", "null"],
)
async def test_a_body_that_is_none_is_refused(
    api: ApiUnderTest,
    brand: Tenant,
    surface: Surface,
    method: str,
    path: str,
    sent: bytes,
    error: tuple[int, str],
) -> None:
    caller = await surface.caller.of(api, brand)
    assert (await _send(caller, method, path.replace("{id}", "1"), raw=sent)).error == error


@_each_call(*_WITH_BODY)
async def test_a_body_that_is_too_large_is_not_waited_for(
    api: ApiUnderTest, brand: Tenant, surface: Surface, method: str, path: str
) -> None:
    caller = await surface.caller.of(api, brand)
    head = (
        f"{method} {API}{path.replace('{id}', '1')} HTTP/1.1\r\nHost: api\r\n"
        f"Authorization: Bearer {caller.key}\r\n"
        f"Content-Length: {surface.most_bytes.get(path, MOST_BYTES) + 1}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


_TEXTS = st.text(max_size=12) | st.text(string.digits + "-:TZ+. @a", max_size=25)


@_each_call()
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_nothing_that_is_sent_makes_a_fault_of_ours(
    api: ApiUnderTest, brand: Tenant, surface: Surface, method: str, path: str, data: st.DataObject
) -> None:
    caller = await surface.caller.of(api, brand)
    if not await brand.pool.fetchval(f"SELECT count(*) FROM {surface.tables[0]}"):
        await caller.furnish()
    document = data.draw(st.dictionaries(st.sampled_from(surface.fields), surface.values, max_size=4))
    query = data.draw(st.lists(st.tuples(st.sampled_from(surface.parameters), _TEXTS), max_size=3))
    identity = data.draw(st.sampled_from(["1", "2"]) | st.text(max_size=8))
    target = path.replace("{id}", quote(identity, safe=""))
    behind = "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
    # Unlike orjson it writes long integers and NaN too.
    body = json.dumps({**surface.bodies.get((method, path), {}), **document}).encode()
    answer = await _send(caller, method, f"{target}?{behind}", raw=body if method in _WITH_BODY else None)
    assert answer.status < 500, answer.raw
    assert answer.status == 200 or answer.body["error"]


@_each_surface()
async def test_neither_addresses_nor_words_nor_secrets_are_told_in_the_log(
    api: ApiUnderTest, brand: Tenant, surface: Surface
) -> None:
    caller = await surface.caller.of(api, brand)
    with capture_logs() as lines:
        words = ["geheim", caller.key, *await caller.whisper()]
    assert [word for word in words if word in repr(lines)] == []
    assert {line["endpoint"].removeprefix(API) for line in lines} <= set(surface.methods)
    assert {line["brand_id"] for line in lines} == {brand.id}
    assert any(surface.noted in line for line in lines)


async def _openapi(api: ApiUnderTest) -> Any:
    return (await api.request("GET", "/openapi.json")).body


@_each_surface()
async def test_every_path_and_method_is_described(api: ApiUnderTest, surface: Surface) -> None:
    paths = {path.removeprefix(API): methods for path, methods in (await _openapi(api))["paths"].items()}
    described = {
        path: tuple(sorted(method.upper() for method in methods))
        for path, methods in paths.items()
        if path.split("/")[1] in surface.nouns and path not in _DOCUMENTED
    }
    assert described == surface.methods


def _fits(schema: Any, description: Any, value: Any) -> None:
    OAS31Validator({**schema, "components": description["components"]}).validate(value)


@_each_call()
async def test_answers_and_errors_are_as_they_are_described(
    api: ApiUnderTest, brand: Tenant, surface: Surface, method: str, path: str
) -> None:
    caller = await surface.caller.of(api, brand)
    description = await _openapi(api)
    operation = description["paths"][API + path][method.lower()]
    ids = await caller.furnish(path)
    sent = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if sent:
        _fits(sent["schema"], description, sent["example"])
    good = await _send(caller, method, _about(surface, path, ids), sent and sent["example"])
    wrong = await _send(caller, method, path.replace("{id}", "404") + "?limit=x&from=x&after=x", sent and {})
    assert good.status == 200, good.raw
    for answer in (good, wrong):
        described = operation["responses"][str(answer.status)]
        _fits(described["content"]["application/json"]["schema"], description, answer.body)
        if answer.status != 200:
            codes = re.findall(r"^`(\w+)`", described["description"], re.MULTILINE)
            assert answer.body["error"] in codes


@_each_path()
async def test_the_page_shows_every_path(api: ApiUnderTest, surface: Surface, path: str) -> None:
    assert f"<code>{API}{path}</code>" in (await api.request("GET", "/docs")).raw.decode()
