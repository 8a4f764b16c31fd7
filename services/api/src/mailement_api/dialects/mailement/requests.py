"""Wire → command: what a body may hold, and what it means in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from mailement_api.dialects.mailement.errors import WireError
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.commands import ByEmail, ById, ChangeTags, Enroll, Scalar, Subscribe, Who
from mailement_newsletter.errors import EmailTooLong, InvalidEmail
from mailement_newsletter.rules import names
from mailement_newsletter.rules.addresses import MAX_CHARACTERS, Address, parse_address

_BIGINT: Final = 2**63
_MAX_LIST: Final = 100
_MAX_FIELDS: Final = 100
_MAX_VALUE: Final = 1_000
_DRIP_ID: Final = re.compile(r"[0-9]{1,19}")


def _plain(text: str) -> str:
    if names.CONTROL.search(text):
        raise PydanticCustomError("control_character", "holds a control character")
    return text


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise PydanticCustomError("control_character", "holds NUL")
    return text


def _address(raw: object) -> Address:
    if not isinstance(raw, str):
        raise PydanticCustomError("string_type", "is not a string")
    try:
        return parse_address(raw)
    except EmailTooLong:
        raise PydanticCustomError("string_too_long", "is too long") from None
    except InvalidEmail:
        raise PydanticCustomError("email", "is no address") from None


def _address_if_any(raw: object) -> Address | None:
    return None if raw is None or (isinstance(raw, str) and not raw.strip()) else _address(raw)


def _empty_is_none(text: str | None) -> str | None:
    return text or None


def _storable(values: dict[str, Scalar]) -> dict[str, Scalar]:
    for key, value in values.items():
        if "\x00" in key or (isinstance(value, str) and "\x00" in value):
            raise PydanticCustomError("control_character", "holds NUL")
        # What is too big for an int arrives as a float, rounded: exactly -2^63 may have been less.
        least = -_BIGINT if isinstance(value, int) else 1 - _BIGINT
        if isinstance(value, (int, float)) and not least <= value < _BIGINT:
            raise PydanticCustomError("beyond_bigint", "a number is beyond bigint")
    if any(isinstance(value, str) and len(value) > _MAX_VALUE for value in values.values()):
        raise PydanticCustomError("string_too_long", "a value is too long")
    return values


def _text(most: int) -> Any:  # noqa: ANN401  an annotation, made for pydantic
    return Annotated[
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=most), AfterValidator(_plain)]
        | None,
        AfterValidator(_empty_is_none),
    ]


_EMAIL_SCHEMA: Final = {"type": "string", "format": "email", "maxLength": MAX_CHARACTERS}
_NULLABLE_EMAIL_SCHEMA: Final = {"anyOf": [_EMAIL_SCHEMA, {"type": "null"}]}
Email = Annotated[Address, PlainValidator(_address), WithJsonSchema(_EMAIL_SCHEMA)]
EmailIfAny = Annotated[
    Address | None, PlainValidator(_address_if_any), WithJsonSchema(_NULLABLE_EMAIL_SCHEMA)
]
RowId = Annotated[int, Field(ge=1, lt=_BIGINT)]
Slug = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=names.MAX_TOPIC_SLUG),
    AfterValidator(_without_nul),
]
Slugs = Annotated[list[Slug], Field(max_length=_MAX_LIST)]
FieldValues = Annotated[
    dict[str, StrictStr | StrictBool | StrictInt | StrictFloat | None],
    Field(max_length=_MAX_FIELDS),
    AfterValidator(_storable),
]


class Body(BaseModel):
    """Fields stand in the document's order, because the first fault is the one that is reported. Unknown keys are dropped; `null` is as if the key were not there."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Person(Body):
    email: Email
    first_name: _text(names.MAX_FIRST_NAME) = None  # type: ignore[valid-type]
    last_name: _text(names.MAX_LAST_NAME) = None  # type: ignore[valid-type]
    city: _text(names.MAX_CITY) = None  # type: ignore[valid-type]


class SubscribeBody(Person):
    """Section 4."""

    topic_ids: Annotated[list[RowId], Field(max_length=_MAX_LIST)] | None = None
    custom_fields: FieldValues | None = None


class SubscribersBody(Person):
    """Section 5."""

    source: _text(names.MAX_SOURCE) = None  # type: ignore[valid-type]
    tags: Slugs | None = None
    auto_confirm: bool | None = None
    custom_fields: FieldValues | None = None


class WhoBody(Body):
    """Sections 6 and 8: by `email` (preferred) or by `subscriber_id`."""

    email: EmailIfAny = None
    subscriber_id: RowId | None = None


class TagsBody(WhoBody):
    """Section 7."""

    add: Slugs | None = None
    remove: Slugs | None = None


def parse_subscribe(brand: BrandId, document: Mapping[str, Any], trace: str) -> Subscribe:
    """Raises WireError."""
    body = validate(SubscribeBody, document)
    return Subscribe(
        brand_id=brand,
        address=body.email,
        first_name=body.first_name,
        last_name=body.last_name,
        city=body.city,
        custom_fields=body.custom_fields or {},
        topic_ids=None if body.topic_ids is None else tuple(body.topic_ids),
        traceparent=trace,
    )


def parse_subscribers(brand: BrandId, document: Mapping[str, Any], trace: str) -> Subscribe:
    """Raises WireError."""
    body = validate(SubscribersBody, document)
    return Subscribe(
        brand_id=brand,
        address=body.email,
        first_name=body.first_name,
        last_name=body.last_name,
        city=body.city,
        custom_fields=body.custom_fields or {},
        tags=tuple(body.tags or ()),
        source=body.source or "api",
        auto_confirm=bool(body.auto_confirm),
        traceparent=trace,
    )


def parse_who(document: Mapping[str, Any]) -> Who:
    """Raises WireError."""
    return _who(validate(WhoBody, document))


def parse_tags(brand: BrandId, document: Mapping[str, Any], trace: str) -> ChangeTags:
    """Raises WireError."""
    body = validate(TagsBody, document)
    return ChangeTags(
        brand_id=brand,
        who=_who(body),
        add=tuple(body.add or ()),
        remove=tuple(body.remove or ()),
        traceparent=trace,
    )


def parse_enroll(brand: BrandId, drip: str, document: Mapping[str, Any], trace: str) -> Enroll:
    """Raises WireError."""
    who = parse_who(document)
    if not _DRIP_ID.fullmatch(drip) or int(drip) >= _BIGINT:
        raise WireError("drip_not_found")
    return Enroll(brand_id=brand, drip_id=int(drip), who=who, traceparent=trace)


def _who(body: WhoBody) -> Who:
    if body.email is not None:
        return ByEmail(address=body.email)
    if body.subscriber_id is not None:
        return ById(subscriber_id=SubscriberId(body.subscriber_id))
    raise WireError("missing_subscriber_identifier")


BodyT = TypeVar("BodyT", bound=Body)


def validate(kind: type[BodyT], document: Mapping[str, Any]) -> BodyT:
    """Raises WireError with the first fault."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise WireError(_code(str(fault["loc"][0]), fault["type"], len(fault["loc"]))) from None


def _code(field: str, fault: str, depth: int) -> str:
    if fault == "string_too_long" and depth == 1:
        return f"{field}_too_long"
    return f"invalid_{field}"
