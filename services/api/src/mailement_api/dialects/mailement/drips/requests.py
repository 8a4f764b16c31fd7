"""Wire → our words. A drip's definition is read by the newsletter's own rules; its models here only describe it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from mailement_api.dialects.mailement.errors import WireError
from mailement_api.dialects.mailement.query import row_id
from mailement_api.dialects.mailement.requests import FieldValues, WhoBody, parse_who, validate
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.commands import ByEmail, ById, ReportEvent, Who
from mailement_newsletter.errors import EmailTooLong, InvalidEmail, InvalidName
from mailement_newsletter.ids import DripId, RunId
from mailement_newsletter.rules.addresses import parse_address
from mailement_newsletter.rules.drip_definition import (
    CatchUp,
    DripTrigger,
    DripZone,
    ReEnroll,
    WrittenState,
)
from mailement_newsletter.rules.names import GIVEN_ID
from mailement_newsletter.usecases.simulate_drip import Somebody

_NUMBER: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_MOST: Final = 100
_MOST_CHARACTERS: Final = 1_000
_FIELD: Final = "field."


class Described(BaseModel):
    """Of the description alone."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


Delay = Annotated[str, Field(examples=["0", "10 minutes", "2 days"])]
TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"] | Annotated[int, Field(ge=1, le=7)]


class WindowBody(Described):
    """When mails may leave; over midnight if it closes before it opens."""

    from_: Annotated[TimeOfDay | None, Field(alias="from")] = None
    to: TimeOfDay | None = None
    days: list[Weekday] | None = None


class WaitUntilBody(Described):
    date: str | None = None
    weekdays: list[Weekday] | None = None
    time: TimeOfDay | None = None


class ConditionBody(Described):
    """`then`, `otherwise`: labels of later steps; `otherwise` may be `exit`."""

    if_: Annotated[dict[str, Any], Field(alias="if")]
    then: str | None = None
    otherwise: str | None = None


class ExitOnBody(Described):
    topics: list[str]


class StepBody(Described):
    """One of: a mail (`subject` with `html` or `text`), `wait_until`, `condition`, `add_topic`, `remove_topic`, `webhook`,
    `exit`; or nothing but a `delay`.
    """

    id: int | None = None
    label: str | None = None
    delay: Delay | None = None
    subject: str | None = None
    html: str | None = None
    text: str | None = None
    wait_until: WaitUntilBody | None = None
    condition: ConditionBody | None = None
    add_topic: str | None = None
    remove_topic: str | None = None
    webhook: str | None = None
    exit: Literal[True] | str | None = None


class DripPatchBody(Described):
    """What changes; `null` takes a setting away. `steps` are all that there shall be."""

    name: str | None = None
    state: WrittenState | None = None
    trigger: DripTrigger | None = None
    topic: str | None = None
    event: str | None = None
    field: str | None = None
    days: int | None = None
    yearly: bool | None = None
    time: TimeOfDay | None = None
    re_enroll: ReEnroll | None = None
    catch_up: CatchUp | None = None
    zone: DripZone | None = None
    window: WindowBody | None = None
    exit_on: ExitOnBody | None = None
    goals: list[str] | None = None
    evergreen: bool | None = None
    max_per_hour: int | None = None
    version: int | None = None
    steps: list[StepBody] | None = None


class DripBody(DripPatchBody):
    """A whole drip."""

    name: str
    steps: list[StepBody]


class EventBody(WhoBody):
    """By `email` (preferred) or by `subscriber_id`. `id`: yours; what is sent again with it happens once."""

    id: Annotated[str, Field(pattern=f"^{GIVEN_ID.pattern}$")] | None = None
    event: str
    properties: FieldValues | None = None


def parse_event(brand: BrandId, document: Mapping[str, Any], trace: str) -> ReportEvent:
    """Raises WireError."""
    who = parse_who(document)
    body = validate(EventBody, document)
    try:
        return ReportEvent(
            brand_id=brand,
            who=who,
            name=body.event,
            properties=body.properties or {},
            given_id=body.id,
            traceparent=trace,
        )
    except InvalidName:
        raise WireError("invalid_event") from None


def drip_id_in(path: str) -> DripId:
    """What is no number of ours is not found. Raises WireError."""
    return DripId(row_id(path, "drip_not_found"))


def run_id_in(path: str) -> RunId:
    """Raises WireError."""
    return RunId(row_id(path, "run_not_found"))


def flag_of(given: object, name: str) -> bool:
    """Of a body or from behind the question mark; what is not said is false. Raises WireError."""
    match given:
        case None | False | "false":
            return False
        case True | "true":
            return True
        case _:
            raise WireError(f"invalid_{name}")


def subscriber_of(query: Mapping[str, str]) -> Who | None:
    """An address or an id. Raises WireError."""
    text = query.get("subscriber")
    if text is None:
        return None
    if _NUMBER.fullmatch(text):
        return ById(subscriber_id=SubscriberId(row_id(text, "invalid_subscriber")))
    try:
        return ByEmail(address=parse_address(text))
    except (InvalidEmail, EmailTooLong):
        raise WireError("invalid_subscriber") from None


def somebody_of(query: Mapping[str, str]) -> Somebody:
    """A person who need not exist: `topics=a,b&field.plan=paid`. Raises WireError."""
    topics = [slug.strip() for slug in query.get("topics", "").split(",") if slug.strip()]
    if len(topics) > _MOST or any(_UNSTORABLE.search(slug) for slug in topics):
        raise WireError("invalid_topics")
    given = {key.removeprefix(_FIELD): value for key, value in query.items() if key.startswith(_FIELD)}
    if len(given) > _MOST or any(
        len(value) > _MOST_CHARACTERS or _UNSTORABLE.search(key + value) for key, value in given.items()
    ):
        raise WireError("invalid_fields")
    return Somebody.of(given, topics=tuple(topics))
