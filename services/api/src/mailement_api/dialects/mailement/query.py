"""What stands behind the question mark or in a path, read strictly: ids, limits, cursors, moments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from mailement_api.dialects.mailement.errors import WireError
from mailement_common.clock import EARLIEST_YEAR, LATEST_YEAR

MOST_PER_PAGE: Final = 100
USUAL_PER_PAGE: Final = 50
_BIGINT: Final = 2**63
_NUMBER: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_MOMENT: Final = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)(?P<zone>Z|[+ -][0-9]{2}:?[0-9]{2})?)?",
    re.ASCII,
)

WordT = TypeVar("WordT", bound=StrEnum)


def moment(text: str) -> datetime:
    """ISO 8601, UTC where no zone is named. Raises ValueError."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("not a moment")
    # Behind a question mark a plus sign arrives as a space.
    zone = (found["zone"] or "Z").replace(" ", "+")
    given = datetime.fromisoformat(f"{found['date']}T{found['time'] or '00:00'}{zone}")
    if not EARLIEST_YEAR <= given.year <= LATEST_YEAR:
        raise ValueError("out of range")
    return given.astimezone(UTC)


def wire_moment(at: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds")


def row_id(text: str, code: str) -> int:
    """The id of a row; `code` is the error of whatever cannot be one. Raises WireError."""
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) < _BIGINT:
        raise WireError(code)
    return int(text)


def number_from_zero(query: Mapping[str, str], name: str) -> int:
    """0 where it is not named. Raises WireError."""
    text = query.get(name, "0")
    if not _NUMBER.fullmatch(text) or int(text) >= _BIGINT:
        raise WireError(f"invalid_{name}")
    return int(text)


def limit_of(query: Mapping[str, str], usual: int = USUAL_PER_PAGE) -> int:
    """Raises WireError."""
    text = query.get("limit")
    if text is None:
        return usual
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= MOST_PER_PAGE:
        raise WireError("invalid_limit")
    return int(text)


def cursor_of(query: Mapping[str, str]) -> str | None:
    return query.get("cursor")


def id_cursor_of(query: Mapping[str, str]) -> int | None:
    """Of a list by id, where the cursor is the last id of the page before. Raises WireError."""
    text = query.get("cursor")
    return None if text is None else row_id(text, "invalid_cursor")


def moment_of(query: Mapping[str, str], name: str) -> datetime | None:
    """Raises WireError."""
    text = query.get(name)
    try:
        return None if text is None else moment(text)
    except ValueError:
        raise WireError(f"invalid_{name}") from None


def word_of(query: Mapping[str, str], name: str, words: type[WordT]) -> WordT | None:
    """One of `words`. Raises WireError."""
    text = query.get(name)
    try:
        return None if text is None else words(text)
    except ValueError:
        raise WireError(f"invalid_{name}") from None
