from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import orjson
import pytest

from mailement_cli.output import say, show_block, show_many, show_one, to_json


class Mood(StrEnum):
    GOOD = "good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    id: int
    name: str | None = None
    mood: Mood = Mood.GOOD
    open: bool = True
    since: datetime = datetime(2026, 5, 19, 17, 42, tzinfo=UTC)
    delay: timedelta = timedelta(days=2)
    parts: tuple[str, ...] = ("a", "b")


def test_one_thing_stands_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_one(Thing(id=7), as_json=False)

    assert capsys.readouterr().out.splitlines() == [
        "id     7",
        "name   –",
        "mood   good",
        "open   yes",
        "since  2026-05-19 17:42:00",
        "delay  2 days, 0:00:00",
        "parts  a, b",
    ]


def test_one_thing_as_json_has_all_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    show_one(Thing(id=7), as_json=True)

    assert orjson.loads(capsys.readouterr().out) == {
        "id": 7,
        "name": None,
        "mood": "good",
        "open": True,
        "since": "2026-05-19T17:42:00+00:00",
        "delay": 172800.0,
        "parts": ["a", "b"],
    }


def test_many_things_are_a_table_of_the_chosen_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show_many([Thing(id=7, name="Ada"), Thing(id=12)], as_json=False, columns=("id", "name", "mood"))

    assert capsys.readouterr().out.splitlines() == ["id  name  mood", "7   Ada   good", "12  –     good"]


def test_a_table_gives_way_to_the_terminal_with_its_longest_text(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": 1, "mood": Mood.GOOD, "reason": "no room " * 20, "name": "Ada"},
        {"id": 2, "mood": Mood.GOOD, "reason": None, "name": "Grace"},
    ]
    show_many(rows, as_json=False, columns=("id", "mood", "reason", "name"), width=40)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 40
    assert lines[1].startswith("1   good  no room no room")
    assert lines[1].endswith("...  Ada")


def test_a_table_that_goes_into_a_file_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show_many([{"reason": "x" * 500}], as_json=False, columns=("reason",))
    assert "x" * 500 in capsys.readouterr().out


def test_many_things_as_json_have_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    show_many([Thing(id=7), Thing(id=12)], as_json=True, columns=("id",))

    shown = orjson.loads(capsys.readouterr().out)
    assert [(thing["id"], thing["mood"]) for thing in shown] == [(7, "good"), (12, "good")]


def test_nothing_is_said_to_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    show_many([], as_json=False, columns=("id",))
    show_many([], as_json=True, columns=("id",))

    assert capsys.readouterr().out == "(none)\n[]\n"


def test_what_stands_in_a_table_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_many([{"name": "a\nb\x1b[31m\t"}, {"name": "c"}], as_json=False, columns=("name",))
    show_one({"name": "a\nb"}, as_json=False)

    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 4
    assert "\x1b" not in shown


def test_things_inside_of_things_become_json() -> None:
    shown = to_json({"things": [Thing(id=1)], "event": UUID(int=1)})

    assert orjson.loads(shown)["things"][0]["delay"] == 172800.0
    assert orjson.loads(shown)["event"] == "00000000-0000-0000-0000-000000000001"


def test_bytes_become_text_in_json() -> None:
    assert orjson.loads(to_json({"body": b'{"a":1}', "odd": b"\xff"})) == {"body": '{"a":1}', "odd": "\\xff"}


def test_a_paragraph_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    say("word " * 30)

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 40


def test_a_block_keeps_its_lines_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    show_block("answer", "HTTP/1.1 200 OK\r\nX-Colour: \x1b[31m\r\n\r\n")
    show_block("nothing", None)

    assert capsys.readouterr().out == "\nanswer\n  HTTP/1.1 200 OK\n  X-Colour: \\x1b[31m\n"
