"""What people type, read: moments, limits, pairs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
from typing_extensions import override

from mailement_common.clock import EARLIEST_YEAR, LATEST_YEAR, SystemClock

_SPAN: Final = re.compile(r"(\d{1,6})\s*([smhdw])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Moment(click.ParamType[datetime]):
    """A moment in ISO 8601, UTC unless it says otherwise, or how far from now: `90m`, `2h`, `3d`.

    Far back, or with `ahead` from now on.
    """

    name = "moment"

    def __init__(self, *, ahead: bool = False) -> None:
        self._way = 1 if ahead else -1

    @override
    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            if (span := _SPAN.fullmatch(text)) is not None:
                seconds = int(span[1]) * _SECONDS[span[2]]
                moment = SystemClock().now() + self._way * timedelta(seconds=seconds)
            else:
                moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is neither a moment (2026-05-19T17:42) nor a span (90m, 2h, 3d)", param, ctx)
        if not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
            self.fail(f"a moment lies in the years {EARLIEST_YEAR} to {LATEST_YEAR}", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class Limit(click.ParamType[Any]):
    """A number above 0 of the given kind, or `none` for no limit, which becomes 0."""

    name = "number"

    def __init__(self, number: click.ParamType[Any]) -> None:
        self._number = number

    @override
    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        if str(value).strip().lower() == "none":
            return 0
        number: int | float = self._number.convert(value, param, ctx)
        if not number > 0:
            self.fail(f"{number} is no limit: more than 0, or `none`", param, ctx)
        return number


class Pair(click.ParamType[tuple[str, str]]):
    """KEY=VALUE; the value may be empty."""

    name = "pair"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, sign, content = str(value).partition("=")
        if not sign or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, content
