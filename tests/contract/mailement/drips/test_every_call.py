"""What holds for each path and method: keys, scopes, methods, isolation, bad input, the description."""

from __future__ import annotations

import asyncio
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

from mailement_api.dialects.mailement.drips.requests import DripBody, StepBody
from mailement_newsletter.errors import InvalidDrip
from mailement_newsletter.rules.drip_definition import read_definition
from tests.contract.mailement.drips.series import BASE, BODIES, CALLS, METHODS, QUERIES, Drips
from tests.support.api import Answer, ApiUnderTest

_DAMAGE = ("", "0", "-1", "1.0", "x", "%00", "%ff", "%2e%2e", "1%20", str(2**63), "9" * 40)


def _each_call(*methods: str) -> pytest.MarkDecorator:
    calls = [call for call in CALLS if not methods or call[0] in methods]
    return pytest.mark.parametrize(
        ("method", "path"), calls, ids=[f"{method} {path}" for method, path in calls]
    )


async def _furnish(drips: Drips) -> dict[str, int]:
    """A drip with somebody in it."""
    drip = (await drips.make())["id"]
    await drips.put_in(drip)
    return {"drips": drip, "runs": await drips.run_id()}


def _about(path: str, ids: dict[str, int]) -> str:
    return path.replace("{id}", str(ids.get(path.split("/")[1], 0))) + QUERIES.get(path, "")


async def _state(drips: Drips) -> list[Any]:
    tables = ("drips", "drip_steps", "drip_enrollments", "drip_jobs", "outbox")
    return [await drips.brand.pool.fetch(f"SELECT t.* FROM {table} AS t ORDER BY t.id") for table in tables]


@_each_call()
async def test_nobody_comes_in_without_a_key(drips: Drips, method: str, path: str) -> None:
    bare = await drips.api.request(method, BASE + path.replace("{id}", "1"))
    wrong = await drips.call(method, path.replace("{id}", "1"), key="mlm_live_" + "0" * 32)
    assert (bare.error, wrong.error) == ((401, "missing_api_key"), (401, "invalid_api_key"))
    assert bare.body["success"] is False


@_each_call("POST", "PUT", "PATCH")
async def test_a_key_of_no_scope_only_reads(drips: Drips, method: str, path: str) -> None:
    ids = await _furnish(drips)
    before = await _state(drips)
    answer = await drips.call(method, _about(path, ids), BODIES.get((method, path)), key=drips.brand.key)
    assert answer.error == (403, "insufficient_scope")
    assert "drips:write" in answer.body["reason"]
    assert await _state(drips) == before


@_each_call("GET")
async def test_every_key_reads(drips: Drips, method: str, path: str) -> None:
    ids = await _furnish(drips)
    assert (await drips.call(method, _about(path, ids), key=drips.brand.key)).status == 200


@pytest.mark.parametrize("path", METHODS)
async def test_other_methods_are_told_which_there_are(drips: Drips, path: str) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(METHODS[path]):
        answer = await drips.api.request(method, BASE + path.replace("{id}", "1"))
        assert answer.error == (405, "method_not_allowed")
        assert answer.headers["Allow"] == ", ".join(METHODS[path])


@_each_call()
async def test_no_brand_reaches_what_belongs_to_another(
    drips: Drips, stranger: Drips, method: str, path: str
) -> None:
    ids = await _furnish(drips)
    before = await _state(drips)
    answer = await stranger.call(method, _about(path, ids), BODIES.get((method, path)))
    if "{id}" in path or path in ("/runs", "/events"):
        assert answer.status == 404, answer.raw
        assert await _state(drips) == before
    elif method == "GET":
        assert answer.body["drips"] == []


@_each_call()
async def test_an_id_that_is_none_is_not_found(drips: Drips, method: str, path: str) -> None:
    if "{id}" not in path:
        return
    await _furnish(drips)
    before = await _state(drips)
    for damaged in _DAMAGE:
        answer = await drips.call(method, path.replace("{id}", damaged), BODIES.get((method, path)))
        assert answer.status == 404, (damaged, answer.raw)
    assert await _state(drips) == before


@_each_call("POST", "PUT", "PATCH")
@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"{", (400, "invalid_json")),
        (b"\xff", (400, "invalid_json")),
        (b'{"a": 1, "a": 1}', (400, "invalid_json")),
        (b"[]", (422, "invalid_body")),
        (b"null", (422, "invalid_body")),
    ],
)
async def test_a_body_that_is_none_is_refused(
    drips: Drips, method: str, path: str, sent: bytes, error: tuple[int, str]
) -> None:
    assert (await drips.call(method, path.replace("{id}", "1"), raw=sent)).error == error


async def test_a_definition_has_four_megabytes_at_most(drips: Drips) -> None:
    head = (
        f"POST {BASE}/drips HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {drips.key}\r\n"
        f"Content-Length: {4 * 1024 * 1024 + 1}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", drips.api.port)
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


_KEYS = [
    *("id", "label", "delay", "subject", "html", "text", "wait_until", "condition", "add_topic", "webhook"),
    *("remove_topic", "exit", "if", "then", "otherwise", "all", "any", "not", "always", "topic", "opened"),
    *("clicked", "field", "exists", "is", "in", "above", "contains", "date", "weekdays", "time", "from"),
    *("to", "days", "topics"),
]
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["0", "1 day", "09:00", "2027-01-31", "mon", "{{ email }}", "{% if", "exit", "order.paid"]
    )
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = st.sampled_from(
    [*DripBody.model_fields, "email", "subscriber_id", "event", "properties", "dry_run"]
).map(str)
_PARAMETERS = st.sampled_from(
    ["state", "cursor", "limit", "subscriber", "from", "topics", "field.plan", "first_name", "replace"]
)
_TEXTS = st.text(max_size=12) | st.text(string.digits + "-:TZ+. @a", max_size=25)


@pytest.mark.parametrize(("method", "path"), CALLS)
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    document=st.dictionaries(_FIELDS, _VALUES, max_size=4),
    query=st.lists(st.tuples(_PARAMETERS, _TEXTS), max_size=3),
    identity=st.sampled_from(["1", "2"]) | st.text(max_size=8),
)
async def test_nothing_that_is_sent_makes_a_fault_of_ours(
    drips: Drips,
    method: str,
    path: str,
    document: dict[str, Any],
    query: list[tuple[str, str]],
    identity: str,
) -> None:
    if not await drips.brand.enrollments():
        await _furnish(drips)
    target = path.replace("{id}", quote(identity, safe=""))
    behind = "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
    # Unlike orjson it writes long integers and NaN too.
    body = json.dumps({**BODIES.get((method, path), {}), **document}).encode()
    answer = await drips.call(method, f"{target}?{behind}", raw=None if method == "GET" else body)
    assert answer.status < 500, answer.raw
    assert answer.status == 200 or answer.body["error"]


async def test_neither_addresses_nor_words_nor_keys_are_told_in_the_log(drips: Drips) -> None:
    with capture_logs() as lines:
        drip = await drips.make(name="geheim", steps=[{"subject": "geheim", "text": "geheim"}])
        await drips.call("GET", f"/drips/{drip['id']}/simulate?subscriber=geheim%40example.com")
        await drips.call("POST", "/events", {"email": "geheim@example.com", "event": "geheim"})
    assert len(lines) == 3
    assert "geheim" not in repr(lines)
    assert drips.key not in repr(lines)
    assert (lines[0]["endpoint"], lines[0]["drip_id"]) == ("/api/v1/drips", drip["id"])


async def _openapi(api: ApiUnderTest) -> Any:
    return (await api.request("GET", "/openapi.json")).body


async def test_every_path_and_method_is_described(api: ApiUnderTest) -> None:
    paths = (await _openapi(api))["paths"]
    described = {
        path.removeprefix(BASE): tuple(sorted(method.upper() for method in methods))
        for path, methods in paths.items()
        if path.startswith(tuple(f"{BASE}/{noun}" for noun in ("drips", "runs", "events")))
        and not path.endswith("/enroll")
    }
    assert described == METHODS


def _fits(schema: Any, description: Any, value: Any) -> None:
    OAS31Validator({**schema, "components": description["components"]}).validate(value)


def _described(operation: Any, answer: Answer) -> Any:
    return operation["responses"][str(answer.status)]


@_each_call()
async def test_answers_and_errors_are_as_they_are_described(drips: Drips, method: str, path: str) -> None:
    description = await _openapi(drips.api)
    operation = description["paths"][BASE + path][method.lower()]
    ids = await _furnish(drips)
    sent = operation.get("requestBody", {}).get("content", {}).get("application/json")
    example = sent and sent["example"]
    if sent:
        _fits(sent["schema"], description, example)
    if (method, path) == ("POST", "/drips"):
        example = {**example, "name": "Another"}
    good = await drips.call(method, _about(path, ids), example)
    missing = await drips.call(
        method, path.replace("{id}", "404") + "?limit=x&from=x", {} if path == "/events" else example
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


def test_the_description_of_a_drip_names_the_settings_that_there_are() -> None:
    """The models only describe; what they name is what the rules read, and the other way round."""
    settings_ = {field.alias or name for name, field in DripBody.model_fields.items()}
    steps = {field.alias or name for name, field in StepBody.model_fields.items()}
    with pytest.raises(InvalidDrip) as refusal:
        read_definition({**dict.fromkeys(settings_, 7.5), "steps": [dict.fromkeys(steps, 7.5)], "unknown": 1})
    unknown = {fault.at for fault in refusal.value.faults if "no such setting" in fault.message}
    assert unknown == {"unknown"}
    assert (
        steps - {fault.at.split(".")[2] for fault in refusal.value.faults if fault.at.count(".") > 1} == set()
    )
