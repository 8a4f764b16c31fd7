"""How a command answers: a table for people, JSON for programs."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, Final
from uuid import UUID

import click
import orjson

_MISSING: Final = "–"
_READABLE: Final = 100
_GAP: Final = "  "
_DOTS: Final = "..."
_NARROWEST: Final = 8


def show_one(value: object, *, as_json: bool) -> None:
    """One thing with all that is known of it."""
    fields = plain(value)
    if as_json:
        click.echo(to_json(fields))
        return
    width = max(len(name) for name in fields)
    for name, content in fields.items():
        click.echo(f"{name:<{width}}  {_cell(content)}")


def show_many(
    values: Sequence[object], *, as_json: bool, columns: Sequence[str], width: int | None = None
) -> None:
    """A table of the named columns; JSON has all fields. The longest text gives way to `width`, or the terminal's."""
    width = width or terminal_width()
    rows = [plain(value) for value in values]
    if as_json:
        click.echo(to_json(rows))
        return
    if not rows:
        click.echo("(none)")
        return
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[index]) for line in cells)) for index, column in enumerate(columns)]
    if width is not None:
        _narrow(widths, rows, columns, sum(widths) + len(_GAP) * (len(widths) - 1) - width)
    for line in (list(columns), *cells):
        shown = [f"{cut(cell, room):<{room}}" for cell, room in zip(line, widths, strict=True)]
        click.echo(_GAP.join(shown).rstrip())


def terminal_width() -> int | None:
    """In columns; None: it goes where there is no edge."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def cut(text: str, width: int | None) -> str:
    """With dots at the end where there is no room for all of it."""
    if width is None or len(text) <= width:
        return text
    return text[: width - len(_DOTS)] + _DOTS


def _narrow(
    widths: list[int], rows: Sequence[Mapping[str, Any]], columns: Sequence[str], excess: int
) -> None:
    """Takes the excess from the column with the longest text, as long as that stays readable."""
    texts = [
        index
        for index, column in enumerate(columns)
        if any(
            isinstance(row[column], (str, list, tuple)) and not isinstance(row[column], Enum) for row in rows
        )
    ]
    if excess > 0 and texts:
        longest = max(texts, key=lambda index: widths[index])
        widths[longest] = max(widths[longest] - excess, len(columns[longest]), _NARROWEST)


def say(text: str) -> None:
    """A paragraph for people, no wider than the terminal and than what reads well."""
    width = min(shutil.get_terminal_size((_READABLE, 24)).columns, _READABLE)
    click.echo("\n".join(textwrap.wrap(_in_line(text), width, break_on_hyphens=False)))


def show_block(title: str, text: str | None) -> None:
    """What has lines of its own, for people; nothing if there is nothing."""
    if text:
        click.echo(f"\n{title}")
        for line in text.rstrip().splitlines():
            click.echo(f"  {_in_line(line)}")


def to_json(value: object) -> str:
    return orjson.dumps(value, default=_jsonable).decode()


def plain(value: object) -> dict[str, Any]:
    """A dataclass or mapping as a dict."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    assert isinstance(value, Mapping)
    return dict(value)


def _jsonable(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        # Of a class of the driver's.
        return str(value)
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(type(value).__name__)


def _cell(value: object) -> str:
    match value:
        case None:
            return _MISSING
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case float():
            return str(round(value, 4))
        case date() | timedelta():
            return str(value)
        case Enum():
            return str(value.value)
        case list() | tuple():
            return ", ".join(_cell(item) for item in value) or _MISSING
        case dict():
            return to_json(value)
        case _:
            return _in_line(str(value))


def _in_line(text: str) -> str:
    """What a terminal can show in one line; the rest as escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
