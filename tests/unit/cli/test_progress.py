from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from mailement_cli.progress import Pace, Progress, ProgressLine, moving_line, plain_line, span_in_words

HALF = Progress(doing="replay 7", done=500, total=1000, note="490 delivered, 10 failed", per_second=50)


class Terminal(StringIO):
    @override
    def isatty(self) -> bool:
        return True


def test_a_line_tells_share_counts_rate_note_and_what_is_left() -> None:
    assert plain_line(HALF) == "replay 7 50%  500/1,000  50.0/s  490 delivered, 10 failed  10 s left"


def test_nothing_is_said_of_a_rate_that_is_not_known() -> None:
    assert plain_line(replace(HALF, per_second=None)).endswith("500/1,000  490 delivered, 10 failed")


def test_what_stands_still_has_no_end() -> None:
    assert "left" not in plain_line(replace(HALF, per_second=0.0))


def test_the_bar_is_as_full_as_the_work_is_done() -> None:
    line = moving_line(HALF, width=160)

    assert line.count("█") == line.count("░") == 15


def test_nothing_to_do_is_done() -> None:
    assert plain_line(replace(HALF, done=0, total=0)).startswith("replay 7 100%")


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_hundred_per_cent_is_said_only_at_the_end(total: int, missing: int) -> None:
    done = max(0, total - missing)

    assert "100%" not in plain_line(replace(HALF, done=done, total=total))


@given(st.integers(10, 300))
def test_a_moving_line_never_breaks(width: int) -> None:
    assert len(moving_line(HALF, width=width)) <= width


def test_a_terminal_gets_one_line_that_moves() -> None:
    terminal = Terminal()
    line = ProgressLine(terminal)

    for done in (100, 200, 300):
        line.show(replace(HALF, done=done), at=done)
    line.end(replace(HALF, done=1000))

    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().count("\r") == 4
    assert "100%" in terminal.getvalue()


def test_a_file_gets_a_line_now_and_then_and_the_last_one() -> None:
    file = StringIO()
    line = ProgressLine(file)

    for second in range(12):
        line.show(replace(HALF, done=second), at=second)
    line.end(replace(HALF, done=1000))

    told = file.getvalue().splitlines()
    assert [words.split()[3] for words in told] == ["0/1,000", "5/1,000", "10/1,000", "1,000/1,000"]
    assert "\r" not in file.getvalue()


def test_what_was_not_shown_leaves_no_line() -> None:
    terminal = Terminal()

    ProgressLine(terminal).end()

    assert terminal.getvalue() == ""


def test_the_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace()

    assert pace.at(0, 100) is None
    assert pace.at(2, 200) == 50
    assert [pace.at(second, 200) for second in range(3, 40)][-1] == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 m"),
        (125, "2 m 5 s"),
        (3_600, "1 h"),
        (3_605, "1 h"),
        (97_200, "1 d 3 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert span_in_words(timedelta(seconds=seconds)) == words
