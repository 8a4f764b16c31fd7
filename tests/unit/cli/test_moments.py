from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import click
import pytest

from mailement_cli.commands.moments import Moment
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
