from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import click
import pytest

from mailement_cli.commands.values import Limit, Moment, Pair
from mailement_common.clock import SystemClock


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-19", datetime(2026, 5, 19, tzinfo=UTC)),
        ("2026-05-19T17:42", datetime(2026, 5, 19, 17, 42, tzinfo=UTC)),
        ("2026-05-19T17:42Z", datetime(2026, 5, 19, 17, 42, tzinfo=UTC)),
        ("2026-05-19 17:42+02:00", datetime(2026, 5, 19, 17, 42, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_a_moment_is_utc_unless_it_says_otherwise(text: str, moment: datetime) -> None:
    assert Moment().convert(text, None, None) == moment


@pytest.mark.parametrize(
    ("text", "age"), [("90m", timedelta(minutes=90)), ("2 h", timedelta(hours=2)), ("1w", timedelta(weeks=1))]
)
def test_an_age_counts_from_now(text: str, age: timedelta) -> None:
    before = SystemClock().now()

    assert before - age <= Moment().convert(text, None, None) <= SystemClock().now() - age


def test_a_span_leads_ahead_where_that_is_asked_for() -> None:
    before = SystemClock().now()

    assert Moment(ahead=True).convert("2h", None, None) >= before + timedelta(hours=2)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2h30", "-2h", "999999w", "2026-13-01", "２h\0", "3000-01-01", "9999-12-31"]
)
def test_anything_else_is_no_moment(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Moment().convert(text, None, None)


@pytest.mark.parametrize(
    ("number", "text", "limit"), [(click.INT, "3", 3), (click.FLOAT, "0.5", 0.5), (click.INT, " None", 0)]
)
def test_a_limit_is_a_number_or_none(number: click.ParamType[int | float], text: str, limit: float) -> None:
    assert Limit(number).convert(text, None, None) == limit


@pytest.mark.parametrize("text", ["0", "-1", "nan", "no"])
def test_nothing_else_is_a_limit(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Limit(click.FLOAT).convert(text, None, None)


def test_a_pair_has_a_key_and_a_value_that_may_be_empty() -> None:
    assert [Pair().convert(text, None, None) for text in ("a=b=c", "a=")] == [("a", "b=c"), ("a", "")]
    for text in ("a", "=b"):
        with pytest.raises(click.BadParameter):
            Pair().convert(text, None, None)
