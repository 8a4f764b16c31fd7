"""Reading a JSON body strictly: bounded in bytes, time and depth, and with every key once."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request

_BODY_SECONDS: Final = 10
_MAX_DEPTH: Final = 32


class BodyFault(Exception):
    """The body cannot be taken; the class says why, each dialect says it in its own words."""


class BodyTooLarge(BodyFault):
    """More bytes than allowed."""


class BodyTooSlow(BodyFault):
    """The body did not arrive in time, or the client left."""


class NotJson(BodyFault):
    """Not UTF-8 JSON, a key named twice, a lone surrogate, or nested too deeply."""


class NotAnObject(BodyFault):
    """JSON, but not an object."""


class NotAJsonType(BodyFault):
    """The content type says that this is something else."""


async def read_object(request: Request, *, max_bytes: int) -> dict[str, Any]:
    """The request's JSON object. Raises a BodyFault."""
    _check_content_type(request.headers.get("content-type"))
    return parse_object(await _read(request, max_bytes))


async def read_object_if_any(request: Request, *, max_bytes: int) -> dict[str, Any]:
    """The same where nothing needs to be said: no body is as an empty object. Raises a BodyFault."""
    body = await _read(request, max_bytes)
    if not body:
        return {}
    _check_content_type(request.headers.get("content-type"))
    return parse_object(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Raises NotJson, NotAnObject."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson from error
    if body.count(b"{") + body.count(b"[") > _MAX_DEPTH and _too_deep(document):
        raise NotJson
    # Each pair has one colon of its own. More colons than pairs: some stand in strings, or a key came twice.
    if body.count(b":") != _pairs(document):
        _refuse_double_keys(body)
    if not isinstance(document, dict):
        raise NotAnObject
    return document


async def _read(request: Request, max_bytes: int) -> bytes:
    if int(request.headers.get("content-length") or 0) > max_bytes:
        raise BodyTooLarge
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise BodyTooLarge
                chunks.append(chunk)
    except (TimeoutError, ClientDisconnect) as error:
        raise BodyTooSlow from error
    return b"".join(chunks)


def _check_content_type(value: str | None) -> None:
    if value is None:
        return
    media_type = value.partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise NotAJsonType


def _too_deep(document: object) -> bool:
    level = [document]
    for _ in range(_MAX_DEPTH):
        level = [inner for value in level for inner in _containers(value)]
    return bool(level)


def _containers(value: object) -> list[object]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in inner if isinstance(child, (dict, list))]


def _pairs(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_pairs(inner) for inner in value.values() if isinstance(inner, (dict, list)))
    if isinstance(value, list):
        return sum(_pairs(inner) for inner in value if isinstance(inner, (dict, list)))
    return 0


def _refuse_double_keys(body: bytes) -> None:
    json.loads(body, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson
    return found
