"""Lists in pages: as long as they were asked for, and never without the way to the next one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import click

from mailement_cli.output import show_many

RowT = TypeVar("RowT")
CursorT = TypeVar("CursorT")

# Of a use case: what it found, and where the next page begins; None: there is none.
Page = tuple[Sequence[RowT], CursorT | None]

CURSOR_HELP: Final = "What the page before said: this is the next one."
limit_option: Final = click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
cursor_option: Final = click.option("--cursor", help=CURSOR_HELP)
id_cursor_option: Final = click.option(
    "--cursor", type=click.IntRange(0, 2**63 - 1), metavar="ID", help=CURSOR_HELP
)


async def full_page(
    fetch: Callable[[int, CursorT | None], Awaitable[Page[RowT, CursorT]]],
    *,
    limit: int,
    cursor: CursorT | None,
) -> Page[RowT, CursorT]:
    """`fetch` takes a limit and a cursor. It may give up early where what is wanted lies far apart; people want all there is."""
    found: list[RowT] = []
    while True:
        rows, cursor = await fetch(limit - len(found), cursor)
        found += rows
        if cursor is None or len(found) == limit:
            return found, cursor


def show_page(page: Page[RowT, CursorT], *, as_json: bool, columns: Sequence[str]) -> None:
    """The way to the next page goes where it is in nobody's way who reads the list with a program."""
    rows, cursor = page
    show_many(rows, as_json=as_json, columns=columns)
    if cursor is not None:
        click.echo(f"there are more: --cursor {cursor}", err=True)
