"""Reading a description that people wrote: value by value, every fault with its place, none of them the last word."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time, timedelta
from enum import StrEnum
from typing import Final, TypeGuard, TypeVar

from mailement_newsletter.errors import DripFault
from mailement_newsletter.rules.names import CONTROL

Place = tuple[str | int, ...]

# Whoever gets this many wrong does not read the rest.
_MOST_FAULTS: Final = 100
# Exact as a float too, so that no reader of JSON makes another number of it.
_BIGGEST_NUMBER: Final = 2**53
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_SPAN: Final = re.compile(r"(\d{1,9})\s*(second|minute|hour|day|week)s?", re.ASCII)
_LONGEST: Final = timedelta(days=3650)
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY_NAMES: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)

Value = TypeVar("Value")
WordT = TypeVar("WordT", bound=StrEnum)
Read = Callable[["Faults", object, Place], Value | None]


class Faults:
    """What is wrong so far."""

    def __init__(self) -> None:
        self.found: list[DripFault] = []

    def add(self, at: Place, message: str) -> None:
        if len(self.found) < _MOST_FAULTS:
            self.found.append(DripFault(".".join(map(str, at)), message))


class Fields:
    """A mapping that is read key by key. `null` is as if the key were not there; `end` tells of keys that nobody asked for."""

    def __init__(self, faults: Faults, value: object, at: Place) -> None:
        self._faults = faults
        self._at = at
        self._values: Mapping[object, object] = value if isinstance(value, Mapping) else {}
        self.is_mapping = isinstance(value, Mapping)
        self._known: set[object] = set()
        if not self.is_mapping:
            faults.add(at, "this is a mapping of names to values")

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def keys_among(self, *keys: str) -> list[str]:
        """Which of `keys` are there."""
        return [key for key in keys if self.has(key)]

    def raw(self, key: str) -> object:
        self._known.add(key)
        return self._values.get(key)

    def given_as_null(self, key: str) -> bool:
        return key in self._values and self._values[key] is None

    def read(self, key: str, how: Read[Value], *, required: bool = False) -> Value | None:
        """None where it is missing or wrong."""
        value = self.raw(key)
        if value is None:
            if required and self.is_mapping:
                self._faults.add((*self._at, key), "Field required")
            return None
        return how(self._faults, value, (*self._at, key))

    def end(self) -> None:
        for key in self._values:
            if key not in self._known:
                self._faults.add((*self._at, _shown(key)), "there is no such setting here")


def line(most: int) -> Read[str]:
    """One line of text, trimmed, not empty."""

    def read(faults: Faults, value: object, at: Place) -> str | None:
        if not isinstance(value, str):
            faults.add(at, "this is text: put it into quotes")
            return None
        trimmed = value.strip()
        if not 0 < len(trimmed) <= most:
            faults.add(at, f"this has 1 to {most} characters")
        elif CONTROL.search(trimmed):
            faults.add(at, "this is one line without control characters")
        elif _UNSTORABLE.search(trimmed):
            faults.add(at, "a lone surrogate cannot be stored")
        else:
            return trimmed
        return None

    return read


def content(most: int) -> Read[str]:
    """Text of any number of lines; may be empty."""

    def read(faults: Faults, value: object, at: Place) -> str | None:
        if not isinstance(value, str):
            faults.add(at, "this is text: put it into quotes")
        elif len(value) > most:
            faults.add(at, f"this has at most {most} characters")
        elif _UNSTORABLE.search(value):
            faults.add(at, "a NUL character or a lone surrogate cannot be stored")
        else:
            return value
        return None

    return read


def matching(pattern: re.Pattern[str], told: str) -> Read[str]:
    def read(faults: Faults, value: object, at: Place) -> str | None:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        faults.add(at, told)
        return None

    return read


def word(words: type[WordT]) -> Read[WordT]:
    def read(faults: Faults, value: object, at: Place) -> WordT | None:
        if isinstance(value, str) and value in {known.value for known in words}:
            return words(value)
        faults.add(at, f"this is one of {', '.join(words)}")
        return None

    return read


def flag(faults: Faults, value: object, at: Place) -> bool | None:
    if isinstance(value, bool):
        return value
    faults.add(at, "this is true or false")
    return None


def whole(least: int, most: int) -> Read[int]:
    def read(faults: Faults, value: object, at: Place) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        faults.add(at, f"this is a whole number from {least} to {most}")
        return None

    return read


def number(faults: Faults, value: object, at: Place) -> int | float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_storable(value):
        return value
    faults.add(at, "this is a number")
    return None


def scalar(faults: Faults, value: object, at: Place) -> str | int | float | bool | None:
    if isinstance(value, str):
        return content(1_000)(faults, value, at)
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and _is_storable(value):
        return value
    faults.add(at, "this is text, a number, true or false")
    return None


def several(how: Read[Value], most: int) -> Read[tuple[Value, ...]]:
    """A list, not empty; its faults are told one by one."""

    def read(faults: Faults, value: object, at: Place) -> tuple[Value, ...] | None:
        if not is_list(value) or not 0 < len(value) <= most:
            faults.add(at, f"this is a list of 1 to {most}")
            return None
        taken = [how(faults, item, (*at, index)) for index, item in enumerate(value)]
        return tuple(item for item in taken if item is not None)

    return read


def weekday(faults: Faults, value: object, at: Place) -> int | None:
    """1 is Monday. By number or by name."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(WEEKDAYS):
        return value
    if isinstance(value, str):
        name = value.strip().lower()
        for names in (WEEKDAYS, _WEEKDAY_NAMES):
            if name in names:
                return names.index(name) + 1
    faults.add(at, "this is a weekday: mon to sun, or 1 (Monday) to 7")
    return None


def weekdays(faults: Faults, value: object, at: Place) -> tuple[int, ...] | None:
    days = several(weekday, len(WEEKDAYS))(faults, value, at)
    return None if days is None else tuple(sorted(set(days)))


def clock_time(faults: Faults, value: object, at: Place) -> time | None:
    matched = _TIME.fullmatch(value) if isinstance(value, str) else None
    if matched is None:
        faults.add(at, "this is a time of day like 09:30")
        return None
    return time(int(matched[1]), int(matched[2]))


def day(faults: Faults, value: object, at: Place) -> date | None:
    try:
        if (
            isinstance(value, str)
            and _DATE.fullmatch(value)
            and (given := date.fromisoformat(value)).year >= 1900
        ):
            return given
    except ValueError:
        pass
    faults.add(at, "this is a date like 2027-01-31")
    return None


def delay(faults: Faults, value: object, at: Place) -> timedelta | None:
    """`0`, or a number with a unit."""
    if not isinstance(value, (bool, float)) and str(value).strip() == "0":
        return timedelta(0)
    matched = _SPAN.fullmatch(str(value).strip().lower()) if isinstance(value, str) else None
    if matched is None:
        faults.add(at, "a delay is 0 or a number with a unit: 10 minutes, 3 hours, 2 days, 1 week")
        return None
    span = int(matched[1]) * _UNITS[matched[2]]
    if span > _LONGEST.total_seconds():
        faults.add(at, "a delay is at most ten years")
        return None
    return timedelta(seconds=span)


def delay_in_words(span: timedelta) -> str:
    """As `delay` reads it; fractions of a second are left out."""
    seconds = int(span.total_seconds())
    if seconds == 0:
        return "0"
    unit, length = next((unit, length) for unit, length in reversed(_UNITS.items()) if seconds % length == 0)
    if unit == "week" and seconds // length > 1:
        unit, length = "day", 86_400
    count = seconds // length
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_storable(value: float) -> bool:
    return (isinstance(value, int) or math.isfinite(value)) and abs(value) <= _BIGGEST_NUMBER


def _shown(key: object) -> str:
    """A key as a place in a message: short, and in one line."""
    text = str(key)[:50]
    return text if text.isprintable() and text else repr(text)
