"""The dialect as OpenAPI 3.1: made from the models that parse and the codes that answer, so it cannot drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mailement_api.dialects.mailement.errors import ADDITIONS, ALL_CODES, CODES, Code
from mailement_api.dialects.mailement.query import MOST_PER_PAGE, USUAL_PER_PAGE
from mailement_api.dialects.mailement.requests import SubscribeBody, SubscribersBody, TagsBody, WhoBody
from mailement_api.dialects.mailement.responses import Family

_REFERENCE: Final = "#/components/schemas/{model}"
_ANY_ENDPOINT: Final = (
    "missing_api_key",
    "invalid_api_key",
    "brand_not_found",
    "method_not_allowed",
    "internal_error",
    "service_unavailable",
)
_ANY_BODY: Final = (
    "invalid_json",
    "invalid_body",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
)
_ANY_SUBSCRIBER: Final = ("invalid_email", "email_too_long")
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


# What errors about drips have besides.
_DRIP_DETAILS: Final = {
    "errors": {
        "type": "array",
        "description": "Of `invalid_drip`: all that is wrong.",
        "items": {
            "type": "object",
            "required": ["at", "message"],
            "properties": {"at": {"type": "string"}, "message": {"type": "string"}},
        },
    },
    "version": {
        "type": "integer",
        "description": "Of `version_conflict`: the version that the drip has now.",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What may stand behind the question mark, or has to."""

    name: str
    description: str
    schema: Mapping[str, object]
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`body` None: it takes none; not `body_required`: it can be left out. `id_of`: what `{id}` names.

    `fields`: of fields of the answer, by their names, what the example alone does not say.
    """

    method: str = "post"
    path: str
    name: str
    summary: str
    tag: str = "Mailement v1"
    body: type[BaseModel] | None
    body_required: bool = True
    family: Family
    error_schema: str
    example: Mapping[str, object] | None
    answer: Mapping[str, object]
    codes: Sequence[str]
    custom_header: bool = False
    id_of: str = "drip"
    query: Sequence[Parameter] = ()
    fields: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


ID_SCHEMA: Final = {"type": "integer", "minimum": 1}
LIMIT: Final = Parameter(
    name="limit",
    description="How many at most.",
    schema={"type": "integer", "minimum": 1, "maximum": MOST_PER_PAGE, "default": USUAL_PER_PAGE},
)
CURSOR: Final = Parameter(
    name="cursor", description="What the page before said: this is the next one.", schema={"type": "string"}
)
MOMENT_SCHEMA: Final = {"type": "string", "format": "date-time"}

OPERATIONS: Final = (
    Operation(
        path="/api/v1/subscribe",
        name="subscribe",
        summary="Find or create a subscriber; topics by id. `topic_ids` replaces memberships, leaving it out keeps them.",
        body=SubscribeBody,
        family=Family.OK,
        error_schema="ok_error",
        example={
            "email": "reader@example.com",
            "first_name": "Maria",
            "last_name": "Costa",
            "city": "Lisbon",
            "topic_ids": [12, 17],
            "custom_fields": {"favorite_genre": "essays"},
        },
        answer={"ok": True, "subscriber_id": 41023, "status": "pending"},
        codes=(*_ANY_SUBSCRIBER, *_PERSON, "invalid_topic_ids"),
        custom_header=False,
    ),
    Operation(
        path="/api/v1/subscribers",
        name="subscribeWithTags",
        summary="Find or create a subscriber; topics by slug. `auto_confirm` bypasses double opt-in for this request.",
        body=SubscribersBody,
        family=Family.SUCCESS,
        error_schema="success_error",
        example={
            "email": "reader@example.com",
            "first_name": "Maria",
            "source": "homepage_form",
            "tags": ["weekly-digest", "deep-dives"],
            "auto_confirm": False,
        },
        answer={"success": True, "subscriber_id": 41023, "status": "pending_confirmation"},
        codes=(
            *_ANY_SUBSCRIBER,
            *_PERSON,
            "invalid_source",
            "source_too_long",
            "invalid_tags",
            "invalid_auto_confirm",
        ),
        custom_header=True,
    ),
    Operation(
        path="/api/v1/subscribers/unsubscribe",
        name="unsubscribe",
        summary="Opt a subscriber out. Repeating it changes nothing.",
        body=WhoBody,
        family=Family.SUCCESS,
        error_schema="success_error",
        example={"email": "reader@example.com"},
        answer={"success": True, "subscriber_id": 41023},
        codes=(*_ANY_SUBSCRIBER, *_WHO),
        custom_header=True,
    ),
    Operation(
        path="/api/v1/subscribers/tags",
        name="changeTags",
        summary="Add and remove topics by slug. Starts no drip.",
        body=TagsBody,
        family=Family.SUCCESS,
        error_schema="success_error",
        example={"email": "reader@example.com", "add": ["weekly-digest"], "remove": ["deep-dives"]},
        answer={"success": True, "subscriber_id": 41023, "added": [12], "removed": [17]},
        codes=(*_ANY_SUBSCRIBER, *_WHO, "invalid_add", "invalid_remove"),
        custom_header=True,
    ),
    Operation(
        path="/api/v1/drips/{id}/enroll",
        name="enroll",
        summary="Enrol a subscriber in a drip of the brand, whatever its trigger.",
        body=WhoBody,
        family=Family.OK,
        error_schema="ok_error",
        example={"email": "reader@example.com"},
        answer={"ok": True, "subscriber_id": 41023, "drip_id": 42, "already_enrolled": False},
        codes=(*_ANY_SUBSCRIBER, *_WHO, "drip_not_found", "enroll_failed"),
        custom_header=False,
    ),
)


def paths(operations: Sequence[Operation]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for operation in operations:
        described.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return described


def schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    models = {operation.body for operation in operations if operation.body is not None}
    _, definitions = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=_REFERENCE,
    )
    return {
        **definitions["$defs"],
        **{f"{family}_error": _error_schema(family, CODES) for family in Family},
        **{name: _error_schema(Family.SUCCESS, {**CODES, **added}) for name, added in ADDITIONS.items()},
    }


def security_schemes() -> dict[str, Any]:
    return {
        "bearer": {"type": "http", "scheme": "bearer", "description": "`mlm_live_` and 32 hex digits."},
        "customHeader": {"type": "apiKey", "in": "header", "name": "X-Newsletter-Api-Key"},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [{"bearer": []}, *([{"customHeader": []}] if operation.custom_header else [])],
        "responses": {"200": _success(operation), **_failures(operation)},
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {
                "application/json": {
                    "schema": {"$ref": _REFERENCE.format(model=operation.body.__name__)},
                    "example": operation.example,
                }
            },
        }
    if parameters := [*_path_parameters(operation), *map(_query_parameter, operation.query)]:
        described["parameters"] = parameters
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    if "{id}" not in operation.path:
        return []
    return [
        {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "description": f"The {operation.id_of}.",
        }
    ]


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.is_required,
        "schema": parameter.schema,
        "description": parameter.description,
    }


def _success(operation: Operation) -> dict[str, Any]:
    return {
        "description": "Done.",
        "content": {
            "application/json": {
                "schema": _example_schema(operation.answer, operation.fields),
                "example": operation.answer,
            }
        },
    }


def _failures(operation: Operation) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in (*_ANY_ENDPOINT, *(_ANY_BODY if operation.body else ()), *operation.codes):
        by_status.setdefault(ALL_CODES[code].status, []).append(code)
    schema = {"$ref": _REFERENCE.format(model=operation.error_schema)}
    return {
        str(status): {
            "description": "\n".join(f"`{code}`: {ALL_CODES[code].message}" for code in codes),
            "content": {"application/json": {"schema": schema}},
        }
        for status, codes in sorted(by_status.items())
    }


def _error_schema(family: Family, codes: Mapping[str, Code]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [family.value, "error", "message"],
        "properties": {
            family.value: {"const": False},
            "error": {"type": "string", "enum": sorted(codes)},
            "message": {"type": "string"},
            "reason": {"type": "string", "description": "Where the code alone does not say enough."},
            **(_DRIP_DETAILS if "invalid_drip" in codes else {}),
        },
    }


def _example_schema(value: object, fields: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    """The shape of an example; null stands where anything may, unless `fields` says more of it."""
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case dict():
            properties = {
                name: fields.get(name) or _example_schema(inner, fields) for name, inner in value.items()
            }
            return {"type": "object", "required": list(properties), "properties": properties}
        case [first, *_]:
            return {"type": "array", "items": _example_schema(first, fields)}
        case [] | ():
            return {"type": "array"}
        case _:
            return {}
