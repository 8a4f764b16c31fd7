"""The dialect as OpenAPI 3.1: made from the models that parse and the codes that answer, so it cannot drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mailement_api.dialects.mailement.errors import CODES
from mailement_api.dialects.mailement.requests import SubscribeBody, SubscribersBody, TagsBody, WhoBody
from mailement_api.dialects.mailement.responses import Family

_REFERENCE: Final = "#/components/schemas/{model}"
_ANY_ENDPOINT: Final = (
    "missing_api_key",
    "invalid_api_key",
    "brand_not_found",
    "invalid_json",
    "invalid_body",
    "invalid_email",
    "email_too_long",
    "method_not_allowed",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "internal_error",
    "service_unavailable",
)
_PERSON: Final = (
    "invalid_first_name",
    "first_name_too_long",
    "invalid_last_name",
    "last_name_too_long",
    "invalid_city",
    "city_too_long",
    "invalid_custom_fields",
    "custom_fields_too_long",
)
_WHO: Final = ("missing_subscriber_identifier", "invalid_subscriber_id", "subscriber_not_found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    path: str
    name: str
    summary: str
    body: type[BaseModel]
    family: Family
    example: Mapping[str, object]
    answer: Mapping[str, object]
    codes: Sequence[str]
    custom_header: bool


OPERATIONS: Final = (
    Operation(
        path="/api/v1/subscribe",
        name="subscribe",
        summary="Find or create a subscriber; topics by id. `topic_ids` replaces memberships, leaving it out keeps them.",
        body=SubscribeBody,
        family=Family.OK,
        example={
            "email": "reader@example.com",
            "first_name": "Maria",
            "last_name": "Costa",
            "city": "Lisbon",
            "topic_ids": [12, 17],
            "custom_fields": {"favorite_genre": "essays"},
        },
        answer={"ok": True, "subscriber_id": 41023, "status": "pending"},
        codes=(*_PERSON, "invalid_topic_ids"),
        custom_header=False,
    ),
    Operation(
        path="/api/v1/subscribers",
        name="subscribeWithTags",
        summary="Find or create a subscriber; topics by slug. `auto_confirm` bypasses double opt-in for this request.",
        body=SubscribersBody,
        family=Family.SUCCESS,
        example={
            "email": "reader@example.com",
            "first_name": "Maria",
            "source": "homepage_form",
            "tags": ["weekly-digest", "deep-dives"],
            "auto_confirm": False,
        },
        answer={"success": True, "subscriber_id": 41023, "status": "pending_confirmation"},
        codes=(*_PERSON, "invalid_source", "source_too_long", "invalid_tags", "invalid_auto_confirm"),
        custom_header=True,
    ),
    Operation(
        path="/api/v1/subscribers/unsubscribe",
        name="unsubscribe",
        summary="Opt a subscriber out. Repeating it changes nothing.",
        body=WhoBody,
        family=Family.SUCCESS,
        example={"email": "reader@example.com"},
        answer={"success": True, "subscriber_id": 41023},
        codes=_WHO,
        custom_header=True,
    ),
    Operation(
        path="/api/v1/subscribers/tags",
        name="changeTags",
        summary="Add and remove topics by slug. Starts no drip.",
        body=TagsBody,
        family=Family.SUCCESS,
        example={"email": "reader@example.com", "add": ["weekly-digest"], "remove": ["deep-dives"]},
        answer={"success": True, "subscriber_id": 41023, "added": [12], "removed": [17]},
        codes=(*_WHO, "invalid_add", "invalid_remove"),
        custom_header=True,
    ),
    Operation(
        path="/api/v1/drips/{id}/enroll",
        name="enroll",
        summary="Enrol a subscriber in a drip of the brand, whatever its trigger.",
        body=WhoBody,
        family=Family.OK,
        example={"email": "reader@example.com"},
        answer={"ok": True, "subscriber_id": 41023, "drip_id": 42, "already_enrolled": False},
        codes=(*_WHO, "drip_not_found", "enroll_failed"),
        custom_header=False,
    ),
)


def paths() -> dict[str, Any]:
    return {operation.path: {"post": _operation(operation)} for operation in OPERATIONS}


def schemas() -> dict[str, Any]:
    models: list[type[BaseModel]] = [SubscribeBody, SubscribersBody, WhoBody, TagsBody]
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)
    return {**definitions["$defs"], **{f"{family}_error": _error_schema(family) for family in Family}}


def security_schemes() -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "`mlm_live_` and 32 hex digits."},
        "customHeader": {"type": "apiKey", "in": "header", "name": "X-Newsletter-Api-Key"},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": ["Mailement v1"],
        "security": [{"bearer": []}, *([{"customHeader": []}] if operation.custom_header else [])],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": _REFERENCE.format(model=operation.body.__name__)},
                    "example": operation.example,
                }
            },
        },
        "responses": {"200": _success(operation), **_failures(operation)},
    }
    if "{id}" in operation.path:
        described["parameters"] = [
            {
                "name": "id",
                "in": "path",
                "required": True,
                "schema": {"type": "string"},
                "description": "The drip.",
            }
        ]
    return described


def _success(operation: Operation) -> dict[str, Any]:
    properties = {name: _example_schema(value) for name, value in operation.answer.items()}
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {
        "description": "Done.",
        "content": {"application/json": {"schema": schema, "example": operation.answer}},
    }


def _failures(operation: Operation) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in (*_ANY_ENDPOINT, *operation.codes):
        by_status.setdefault(CODES[code].status, []).append(code)
    schema = {"$ref": _REFERENCE.format(model=f"{operation.family}_error")}
    return {
        str(status): {
            "description": "\n".join(f"`{code}`: {CODES[code].message}" for code in codes),
            "content": {"application/json": {"schema": schema}},
        }
        for status, codes in sorted(by_status.items())
    }


def _error_schema(family: Family) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [family.value, "error", "message"],
        "properties": {
            family.value: {"const": False},
            "error": {"type": "string", "enum": sorted(CODES)},
            "message": {"type": "string"},
            "reason": {"type": "string", "description": "Only with `enroll_failed`."},
        },
    }


def _example_schema(value: object) -> dict[str, Any]:
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case str():
            return {"type": "string"}
        case _:
            return {"type": "array", "items": {"type": "integer"}}
