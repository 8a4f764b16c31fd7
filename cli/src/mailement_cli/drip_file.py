"""The description of a drip that operators write, in YAML.

name: Welcome
trigger: subscriber_confirmed     # or topic_added (with `topic: <slug>`), or manual
steps:
  - delay: 0                      # 0, "10 minutes", "2 days"; first from the enrolment, then from the previous
    subject: Welcome, {{ first_name }}
    html: <p>Hello</p>            # html or text, or both
"""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta
from typing import Annotated, Any, Final

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from mailement_cli.session import Fault
from mailement_newsletter.catalog.drips import DripTrigger, NewDrip, NewStep

_UNITS: Final = {
    "second": 1,
    "minute": 60,
    "hour": 3_600,
    "day": 86_400,
    "week": 604_800,
}
_SPAN: Final = re.compile(r"(\d{1,6})\s*(second|minute|hour|day|week)s?")
_LONGEST: Final = timedelta(days=3650)


def _delay(value: object) -> timedelta:
    if not isinstance(value, bool) and str(value).strip() == "0":
        return timedelta(0)
    matched = _SPAN.fullmatch(str(value).strip().lower())
    if matched is None:
        raise ValueError("a delay is 0 or a number with a unit: 10 minutes, 3 hours, 2 days, 1 week")
    delay = timedelta(seconds=int(matched[1]) * _UNITS[matched[2]])
    if delay > _LONGEST:
        raise ValueError("a delay is at most ten years")
    return delay


def _one_line(value: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("this is one line without control characters")
    return value


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("a NUL character cannot be stored")
    return value


_Line = Annotated[str, AfterValidator(_one_line)]
_Content = Annotated[str, AfterValidator(_storable)]


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    delay: Annotated[timedelta, BeforeValidator(_delay)]
    subject: Annotated[_Line, Field(min_length=1, max_length=500)]
    html: _Content | None = None
    text: _Content | None = None

    @model_validator(mode="after")
    def _has_content(self) -> _Step:
        if not self.html and not self.text:
            raise ValueError("a step has html or text")
        return self


class _Drip(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[_Line, Field(min_length=1, max_length=200)]
    trigger: DripTrigger = DripTrigger.MANUAL
    topic: Annotated[_Line, Field(min_length=1)] | None = None
    steps: Annotated[list[_Step], Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _topic_fits_trigger(self) -> _Drip:
        if (self.trigger is DripTrigger.TOPIC_ADDED) != (self.topic is not None):
            raise ValueError("`topic` goes with the trigger topic_added, and only with it")
        return self


def read_drip(text: str) -> NewDrip:
    """Raises Fault, with every fault of the description in its message."""
    try:
        described: Any = yaml.safe_load(text)
        drip = _Drip.model_validate(described)
    except yaml.YAMLError as error:
        raise Fault(f"the drip file is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise Fault("the drip file: " + "; ".join(_fault(fault) for fault in error.errors())) from None
    return NewDrip(
        name=drip.name,
        trigger=drip.trigger,
        topic=drip.topic,
        steps=[
            NewStep(delay=step.delay, subject=step.subject, html=step.html, text=step.text)
            for step in drip.steps
        ],
    )


def _fault(fault: Any) -> str:  # noqa: ANN401  pydantic's own shape
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])
