"""Wire → our words: bodies, ids in paths, and what stands behind the question mark."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from mailement_api.dialects.mailement.errors import WireError
from mailement_api.dialects.mailement.query import (
    id_cursor_of,
    moment,
    moment_of,
    number_from_zero,
    row_id,
    word_of,
)
from mailement_api.dialects.mailement.requests import Body, RowId, validate
from mailement_common.ids import BrandId
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.endpoints import Drain, Profile, RetryMode
from mailement_webhooks.ids import DeliveryId, EndpointId, ReplayId, Sequence
from mailement_webhooks.replays import DEFAULT_RATE, ReplayFilter
from mailement_webhooks.usecases.create_endpoint import NewEndpoint
from mailement_webhooks.usecases.list_deliveries import DeliveryFilter
from mailement_webhooks.usecases.update_endpoint import EndpointChanges, Kept

_EVENT_TYPE: Final = re.compile(r"[a-z_.]{1,100}", re.ASCII)


def _moment(raw: object) -> datetime:
    try:
        return moment(raw if isinstance(raw, str) else "")
    except ValueError:
        raise PydanticCustomError("moment", "is no moment") from None


# Enumerations come as strings, which a strict model would not take for members.
ProfileWord = Annotated[Profile, Field(strict=False)]
RetriesWord = Annotated[RetryMode, Field(strict=False)]
DrainWord = Annotated[Drain, Field(strict=False)]
Name = Annotated[str, StringConstraints(max_length=100)]
Names = Annotated[list[Name], Field(max_length=20)]
Moment = Annotated[
    datetime, PlainValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]


class CreateEndpointBody(Body):
    url: str
    profile: ProfileWord | None = None
    event_types: Names | None = None
    description: str | None = None
    retries: RetriesWord | None = None
    ordered: bool | None = None
    max_in_flight: int | None = None
    rate_per_second: float | None = None


class ChangeEndpointBody(Body):
    """Here `null` takes a description or a limit away; for the others it is as if the key were not there."""

    url: str | None = None
    event_types: Names | None = None
    description: str | None = None
    retries: RetriesWord | None = None
    ordered: bool | None = None
    max_in_flight: int | None = None
    rate_per_second: float | None = None


class EnableBody(Body):
    drain: DrainWord | None = None


class ReplayBody(Body):
    endpoint_id: RowId | None = None
    types: Names | None = None
    outcomes: Annotated[list[Annotated[DeliveryState, Field(strict=False)]], Field(max_length=20)] | None = (
        None
    )
    occurred_from: Annotated[Moment | None, Field(alias="from")] = None
    occurred_until: Annotated[Moment | None, Field(alias="until")] = None
    rate_per_second: float | None = None
    dry_run: bool | None = None


class ChangeReplayBody(Body):
    rate_per_second: float


def parse_new_endpoint(brand: BrandId, document: Mapping[str, Any]) -> NewEndpoint:
    """Raises WireError."""
    body = validate(CreateEndpointBody, document)
    return NewEndpoint(
        url=body.url,
        brand_id=brand,
        profile=body.profile or Profile.MAILEMENT,
        event_types=None if body.event_types is None else tuple(body.event_types),
        description=body.description,
        retries=body.retries or RetryMode.SCHEDULE,
        ordered=bool(body.ordered),
        max_in_flight=body.max_in_flight,
        rate_per_second=body.rate_per_second,
    )


def parse_changes(document: Mapping[str, Any]) -> EndpointChanges:
    """Raises WireError."""
    body = validate(ChangeEndpointBody, document)
    named = body.model_fields_set
    return EndpointChanges(
        url=Kept.KEPT if body.url is None else body.url,
        event_types=Kept.KEPT if body.event_types is None else tuple(body.event_types),
        description=body.description if "description" in named else Kept.KEPT,
        retries=Kept.KEPT if body.retries is None else body.retries,
        ordered=Kept.KEPT if body.ordered is None else body.ordered,
        max_in_flight=body.max_in_flight if "max_in_flight" in named else Kept.KEPT,
        rate_per_second=body.rate_per_second if "rate_per_second" in named else Kept.KEPT,
    )


def parse_drain(document: Mapping[str, Any]) -> Drain:
    """Raises WireError."""
    return validate(EnableBody, document).drain or Drain.OLDEST_FIRST


def parse_replay(document: Mapping[str, Any]) -> tuple[EndpointId | None, ReplayFilter, float, bool]:
    """The endpoint, what of its deliveries, at which rate, and whether only to count. Raises WireError."""
    body = validate(ReplayBody, document)
    wanted = ReplayFilter(
        types=None if body.types is None else tuple(body.types),
        outcomes=None if body.outcomes is None else tuple(body.outcomes),
        occurred_from=body.occurred_from,
        occurred_until=body.occurred_until,
    )
    endpoint_id = None if body.endpoint_id is None else EndpointId(body.endpoint_id)
    rate = DEFAULT_RATE if body.rate_per_second is None else body.rate_per_second
    return endpoint_id, wanted, rate, bool(body.dry_run)


def parse_rate(document: Mapping[str, Any]) -> float:
    """Raises WireError."""
    return validate(ChangeReplayBody, document).rate_per_second


def endpoint_id_in(path: str) -> EndpointId:
    """What is no number of ours is not found. Raises WireError."""
    return EndpointId(row_id(path, "endpoint_not_found"))


def delivery_id_in(path: str) -> DeliveryId:
    """Raises WireError."""
    return DeliveryId(row_id(path, "delivery_not_found"))


def replay_id_in(path: str) -> ReplayId:
    """Raises WireError."""
    return ReplayId(row_id(path, "replay_not_found"))


def parse_delivery_filter(brand: BrandId, query: Mapping[str, str]) -> DeliveryFilter:
    """Raises WireError."""
    return DeliveryFilter(
        brand_id=brand,
        endpoint_id=endpoint_id_of(query),
        state=word_of(query, "state", DeliveryState),
        type=_type(query.get("type")),
        occurred_from=moment_of(query, "from"),
        occurred_until=moment_of(query, "until"),
    )


def endpoint_id_of(query: Mapping[str, str]) -> EndpointId | None:
    """Raises WireError."""
    text = query.get("endpoint_id")
    return None if text is None else EndpointId(row_id(text, "invalid_endpoint_id"))


def before_of(query: Mapping[str, str]) -> ReplayId | None:
    """The cursor of replays is the last id of the page before. Raises WireError."""
    last = id_cursor_of(query)
    return None if last is None else ReplayId(last)


def after_of(query: Mapping[str, str]) -> Sequence:
    """Raises WireError."""
    return Sequence(number_from_zero(query, "after"))


def _type(text: str | None) -> str | None:
    if text is not None and not _EVENT_TYPE.fullmatch(text):
        raise WireError("invalid_type")
    return text
