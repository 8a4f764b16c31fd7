"""Bodies that are no request: each gets its documented error, changes nothing, and none makes a 500."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.mailement.endpoints import (
    BY_SUBSCRIBER,
    ENDPOINTS,
    SIGNING_UP,
    SUBSCRIBE,
    SUBSCRIBERS,
    TAGS,
    Endpoint,
    each,
)
from tests.support.api import ApiUnderTest
from tests.support.brands import AT_ONCE, READER, Tenant, count_rows

LIMIT = 65_536


def _nested(levels: int, opening: str, closing: str) -> bytes:
    return b'{"email": "reader@example.com", "x": %s}' % (opening * levels + closing * levels).encode()


def _body(inside: bytes) -> bytes:
    return b'{"email": "reader@example.com", ' + inside + b"}"


UNREADABLE = {
    "nothing": b"",
    "space": b" \r\n\t",
    "no JSON": b"email=reader@example.com",
    "half an object": b'{"email": "reader@example.com"',
    "two objects": b'{"email": "reader@example.com"}{}',
    "trailing comma": b'{"email": "reader@example.com",}',
    "single quotes": b"{'email': 'reader@example.com'}",
    "comment": b'{"email": "reader@example.com"} // hello',
    "NaN": _body(b'"x": NaN'),
    "Infinity": _body(b'"x": -Infinity'),
    "a number beyond any double": _body(b'"x": ":", "y": ' + b"1" * 5000),
    "leading zero": _body(b'"x": 01'),
    "raw NUL": _body(b'"x": "\x00"'),
    "raw line feed": _body(b'"x": "a\nb"'),
    "bad escape": _body(rb'"x": "\x41"'),
    "byte order mark": b'\xef\xbb\xbf{"email": "reader@example.com"}',
    "UTF-16": '{"email": "reader@example.com"}'.encode("utf-16"),
    "UTF-32": '{"email": "reader@example.com"}'.encode("utf-32-le"),
    "Latin-1": _body('"first_name": "José"'.encode("latin-1")),
    "overlong UTF-8": _body(b'"x": "\xc0\xaf"'),
    "surrogate in UTF-8": _body(b'"x": "\xed\xa0\x80"'),
    "lone surrogate in the email": rb'{"email": "\ud800@example.com"}',
    "lone surrogate in a name": _body(rb'"first_name": "\udc00"'),
    "lone surrogate in a key": _body(rb'"\ud800": 1'),
    "lone surrogate in a field nobody knows": _body(rb'"x": ["\ud800"]'),
    "surrogates in the wrong order": _body(rb'"x": "\udc00\ud800"'),
    "a key twice": b'{"email": "reader@example.com", "email": "other@example.com"}',
    "a key twice, once escaped": rb'{"email": "reader@example.com", "\u0065mail": "other@example.com"}',
    "a key twice with a colon in a string": b'{"email": "reader@example.com", "x": ":", "x": 1}',
    "a key twice, deep inside": _body(b'"x": [{"y": {"z": 1, "z": 1}}]'),
    "33 levels": _nested(32, "[", "]"),
    "100 levels of arrays": _nested(100, "[", "]"),
    "100 levels of objects": _nested(100, '{"x":', "}").replace(b'{"x":}', b"{}"),
    "500 levels of arrays": _nested(500, "[", "]"),
    "1000 levels of arrays": _nested(1000, "[", "]"),
    "1020 levels of arrays": _nested(1020, "[", "]"),
    "2000 levels of arrays": _nested(2000, "[", "]"),
    "2000 levels without an end": b"[" * 2000,
    "60000 levels without an end": b"[" * 60_000,
    "60000 levels of objects without an end": b'{"x":' * 12_000,
}

NO_OBJECTS = {
    "null": b"null",
    "true": b"true",
    "a number": b"42",
    "a big number": b"1" * 300,
    "a string": b'"reader@example.com"',
    "an empty array": b"[]",
    "an array of objects": b'[{"email": "reader@example.com"}]',
}

ODD_BUT_FINE = {
    "32 levels": _nested(31, "[", "]"),
    "space around": b' \r\n\t{"email": "reader@example.com"} \n',
    "escapes": rb'{"\u0065mail": "reader\u0040example.com"}',
    "an escaped pair of surrogates": _body(rb'"x": "\ud83c\udf89"'),
    "brackets in strings": _body(b'"x": "' + b"[{" * 2000 + b'"'),
    "colons in strings": _body(b'"x": "' + b":" * 2000 + b'"'),
    "the same key on different levels": _body(b'"x": {"email": 1, "x": {"email": 2}}'),
    "a very long number nobody asked for": _body(b'"x": 1' + b"0" * 300),
    "a small exponent": _body(b'"x": 1e-999'),
    "as large as allowed": _body(b'"x": "').ljust(LIMIT - 2, b"x").replace(b"}", b"", 1) + b'"}',
}


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_is_not_strict_json_is_invalid(api: ApiUnderTest, brand: Tenant, sent: bytes) -> None:
    answer = await api.post(SUBSCRIBE.path, raw=sent, key=brand.key)
    assert (answer.error, await brand.subscribers()) == ((400, "invalid_json"), 0)


@pytest.mark.parametrize("sent", NO_OBJECTS.values(), ids=NO_OBJECTS)
async def test_json_that_is_no_object_is_an_invalid_body(
    api: ApiUnderTest, brand: Tenant, sent: bytes
) -> None:
    answer = await api.post(SUBSCRIBE.path, raw=sent, key=brand.key)
    assert (answer.error, await brand.subscribers()) == ((422, "invalid_body"), 0)


@pytest.mark.parametrize("sent", ODD_BUT_FINE.values(), ids=ODD_BUT_FINE)
async def test_odd_but_proper_json_is_taken(api: ApiUnderTest, brand: Tenant, sent: bytes) -> None:
    answer = await api.post(SUBSCRIBE.path, raw=sent, key=brand.key)
    assert (answer.status, await brand.subscribers()) == (200, 1), answer.body


@each(*ENDPOINTS)
@pytest.mark.parametrize("sent", [b"", b"{", b"\xff", b'{"a": 1, "a": 1}', b"[" * 2000])
async def test_every_endpoint_refuses_what_is_not_strict_json(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, sent: bytes
) -> None:
    answer = await api.post(endpoint.path, raw=sent, key=brand.key)
    assert (answer.error, answer.body[endpoint.family]) == ((400, "invalid_json"), False)


@each(*ENDPOINTS)
async def test_every_endpoint_refuses_what_is_no_object(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    answer = await api.post(endpoint.path, raw=b"[]", key=brand.key)
    assert (answer.error, answer.body[endpoint.family]) == ((422, "invalid_body"), False)


NO_TEXT: tuple[Any, ...] = (0, 1.5, True, [], ["Maria"], {}, {"a": "b"})
CONTROL = ("\x00", "Ma\x00ria", "Maria\x00", "a\nb", "a\tb", "a\x1bb", "a\x7fb", "a\x85b", "a\x9fb")
NO_ID: tuple[Any, ...] = (0, -1, 1.0, 1.5, True, "1", 2**63, 2**64, 10**30, [1], {})
NO_SLUGS: tuple[Any, ...] = (
    "weekly",
    1,
    True,
    {},
    {"a": "b"},
    [1],
    [None],
    [True],
    [["weekly"]],
    ["a\x00"],
    ["x" * 191],
)

WRONG_VALUES: list[tuple[tuple[Endpoint, ...], str, tuple[Any, ...]]] = [
    (ENDPOINTS, "email", (*NO_TEXT, "a\x00@example.com", "a@exam\x00ple.com")),
    (SIGNING_UP, "first_name", (*NO_TEXT, *CONTROL)),
    (SIGNING_UP, "last_name", (*NO_TEXT, *CONTROL)),
    (SIGNING_UP, "city", (*NO_TEXT, *CONTROL)),
    ((SUBSCRIBERS,), "source", (*NO_TEXT, *CONTROL)),
    (
        (SUBSCRIBE,),
        "topic_ids",
        (
            "12",
            12,
            True,
            {},
            {"12": 1},
            [None],
            ["12"],
            [[12]],
            list(range(1, 102)),
            *([bad] for bad in NO_ID),
        ),
    ),
    ((SUBSCRIBERS,), "tags", (*NO_SLUGS, ["x"] * 101)),
    ((TAGS,), "add", (*NO_SLUGS, ["x"] * 101)),
    ((TAGS,), "remove", (*NO_SLUGS, ["x"] * 101)),
    ((SUBSCRIBERS,), "auto_confirm", (0, 1, "true", "", [], {}, 1.0)),
    (
        SIGNING_UP,
        "custom_fields",
        (
            "x",
            1,
            True,
            [],
            [["genre", "essays"]],
            {"genre": []},
            {"genre": {}},
            {"genre": ["essays"]},
            {"genre": "a\x00b"},
            {"unknown": "a\x00b"},
            {"a\x00b": 1},
            {"genre": 2**63},
            {"genre": -(2**63) - 1},
            {"genre": 10**30},
            {f"field-{number}": 1 for number in range(101)},
        ),
    ),
    (BY_SUBSCRIBER, "subscriber_id", NO_ID),
]


@pytest.mark.parametrize(
    ("endpoint", "field", "values"),
    [
        pytest.param(endpoint, field, values, id=f"{endpoint.path} {field}")
        for endpoints, field, values in WRONG_VALUES
        for endpoint in endpoints
    ],
)
async def test_a_wrong_value_is_refused_by_the_name_of_its_field(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, field: str, values: tuple[Any, ...]
) -> None:
    await brand.drip(AT_ONCE)
    await brand.field("genre")
    await brand.subscriber()
    before = await count_rows(brand.pool), await brand.row()
    refused = {}
    for value in values:
        body = {**endpoint.body, field: value}
        if field == "subscriber_id":
            del body["email"]
        # orjson does not write integers of more than 64 bits.
        answer = await api.post(endpoint.path, raw=json.dumps(body).encode(), key=brand.key)
        refused[repr(value)[:60]] = answer.error if answer.status != 200 else answer.body
    assert refused == {repr(value)[:60]: (422, f"invalid_{field}") for value in values}
    assert (await count_rows(brand.pool), await brand.row()) == before


async def test_a_hundred_topics_and_a_hundred_fields_are_taken(api: ApiUnderTest, brand: Tenant) -> None:
    fields = {f"field-{number}": None for number in range(100)}
    body = {"email": READER, "topic_ids": list(range(1, 101)), "custom_fields": fields}
    assert (await api.post(SUBSCRIBE.path, body, key=brand.key)).status == 200


@each(*ENDPOINTS)
async def test_a_body_over_the_limit_is_too_large(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    sent = orjson.dumps(endpoint.body).ljust(LIMIT + 1)
    answer = await api.post(endpoint.path, raw=sent, key=brand.key)
    assert (answer.error, answer.body[endpoint.family]) == ((413, "body_too_large"), False)


async def test_a_body_at_the_limit_is_taken(api: ApiUnderTest, brand: Tenant) -> None:
    sent = orjson.dumps(SUBSCRIBE.body).ljust(LIMIT)
    assert (await api.post(SUBSCRIBE.path, raw=sent, key=brand.key)).status == 200


async def _in_chunks(size: int) -> AsyncIterator[bytes]:
    yield b'{"email": "reader@example.com"}'
    for _ in range(size // 1024):
        yield b" " * 1024


async def test_a_body_in_chunks_is_measured_too(api: ApiUnderTest, brand: Tenant) -> None:
    answer = await api.post(SUBSCRIBE.path, raw=_in_chunks(LIMIT), key=brand.key)
    assert (answer.error, await brand.subscribers()) == ((413, "body_too_large"), 0)


async def test_a_small_body_in_chunks_is_taken(api: ApiUnderTest, brand: Tenant) -> None:
    assert (await api.post(SUBSCRIBE.path, raw=_in_chunks(2048), key=brand.key)).status == 200


async def test_a_body_that_only_says_it_is_large_is_refused_unread(api: ApiUnderTest, brand: Tenant) -> None:
    status, _ = await _raw(api, _head(brand, f"Content-Length: {2**40}"))
    assert status == 413


async def test_a_body_that_does_not_arrive_is_given_up_after_ten_seconds(
    api: ApiUnderTest, brand: Tenant
) -> None:
    status, body = await _raw(api, _head(brand, "Content-Length: 31") + b'{"email": ')
    assert (status, body["error"], await brand.subscribers()) == (408, "request_timeout", 0)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/jsonp",
        "application/json-seq",
        "json",
        "application/",
        "*/*",
        "application/json, text/plain",
    ],
)
async def test_another_content_type_is_not_supported(
    api: ApiUnderTest, brand: Tenant, content_type: str
) -> None:
    sent = orjson.dumps(SUBSCRIBE.body)
    answer = await api.post(SUBSCRIBE.path, raw=sent, key=brand.key, headers={"Content-Type": content_type})
    assert (answer.error, await brand.subscribers()) == ((415, "unsupported_media_type"), 0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "APPLICATION/JSON"},
        {"Content-Type": "application/json ;charset=utf-8"},
        {"Content-Type": "application/vnd.brand.v1+json"},
    ],
)
async def test_json_types_and_none_at_all_are_taken(
    api: ApiUnderTest, brand: Tenant, headers: dict[str, str]
) -> None:
    sent = orjson.dumps(SUBSCRIBE.body)
    assert (await api.post(SUBSCRIBE.path, raw=sent, key=brand.key, headers=headers)).status == 200


@each(*ENDPOINTS)
async def test_every_endpoint_refuses_another_content_type(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint
) -> None:
    sent = orjson.dumps(endpoint.body)
    answer = await api.post(endpoint.path, raw=sent, key=brand.key, headers={"Content-Type": "text/plain"})
    assert (answer.error, answer.body[endpoint.family]) == ((415, "unsupported_media_type"), False)


_KEYS = st.sampled_from(
    [
        "email",
        "first_name",
        "last_name",
        "city",
        "custom_fields",
        "topic_ids",
        "tags",
        "source",
        "auto_confirm",
        "subscriber_id",
        "add",
        "remove",
    ]
)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=250)
_PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
    | st.sampled_from([READER, "weekly", "genre"])
)
_JSON = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXT, inner, max_size=5),
    max_leaves=12,
)
_BODIES = (
    st.dictionaries(_KEYS, _JSON, max_size=8).map(lambda body: {"email": READER, **body})
    | st.dictionaries(_KEYS, _JSON, max_size=8)
    | _JSON
).map(lambda body: json.dumps(body).encode())


@each(*ENDPOINTS)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sent=_BODIES | st.binary(max_size=200) | st.text(string.printable, max_size=200).map(str.encode))
async def test_nothing_that_is_sent_makes_a_fault_of_ours(
    api: ApiUnderTest, brand: Tenant, endpoint: Endpoint, sent: bytes
) -> None:
    answer = await api.post(endpoint.path, raw=sent, key=brand.key)
    assert answer.status < 500, answer.raw
    assert answer.body[endpoint.family] is (answer.status == 200)
    assert answer.status == 200 or answer.body["error"]


def _head(brand: Tenant, *lines: str) -> bytes:
    head = (
        f"POST {SUBSCRIBE.path} HTTP/1.1",
        "Host: test",
        f"Authorization: Bearer {brand.key}",
        *lines,
        "",
        "",
    )
    return "\r\n".join(head).encode()


async def _raw(api: ApiUnderTest, sent: bytes) -> tuple[int, Any]:
    """Status and body of what comes back on a connection that sends these bytes and then waits."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        writer.write(sent)
        received = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), orjson.loads(body)
