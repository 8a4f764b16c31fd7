"""`mailement drip`: timed series."""

from __future__ import annotations

from typing import Final, TextIO

import click

from mailement_cli.drip_file import read_drip
from mailement_cli.output import plain, show_many, show_one, to_json
from mailement_cli.session import brand_option, command, database, json_option
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.catalog.drips import (
    DripState,
    create_drip,
    find_drip,
    list_drips,
    list_steps,
    set_drip_state,
)

_COLUMNS: Final = ("id", "name", "state", "trigger", "topic", "active", "completed", "exited")


@click.group()
def drip() -> None:
    """Drips: timed mail series."""


@drip.command()
@brand_option
@click.option("--file", "description", required=True, type=click.File(encoding="utf-8"))
@json_option
@command
async def create(brand: str, description: TextIO, *, as_json: bool) -> None:
    """Create a drip from a YAML file: name, trigger, steps with delay, subject, html or text."""
    described = read_drip(description.read())
    async with database() as connection:
        owner = await find_brand(connection, brand)
        show_one(await create_drip(connection, owner.id, described), as_json=as_json)


@drip.command("list")
@brand_option
@json_option
@command
async def list_(brand: str, *, as_json: bool) -> None:
    """List a brand's drips."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        show_many(await list_drips(connection, owner.id), as_json=as_json, columns=_COLUMNS)


@drip.command()
@click.argument("drip_id", type=int)
@brand_option
@json_option
@command
async def show(drip_id: int, brand: str, *, as_json: bool) -> None:
    """Show a drip and its steps."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        found = await find_drip(connection, owner.id, drip_id)
        steps = await list_steps(connection, found)
    if as_json:
        click.echo(to_json({**plain(found), "steps": steps}))
        return
    show_one(found, as_json=False)
    click.echo("\nsteps")
    show_many(steps, as_json=False, columns=("id", "position", "delay", "subject"))


@drip.command()
@click.argument("drip_id", type=int)
@brand_option
@json_option
@command
async def pause(drip_id: int, brand: str, *, as_json: bool) -> None:
    """Pause a drip: nothing of it runs, everybody keeps the place."""
    await _set_state(brand, drip_id, DripState.PAUSED, as_json=as_json)


@drip.command()
@click.argument("drip_id", type=int)
@brand_option
@json_option
@command
async def resume(drip_id: int, brand: str, *, as_json: bool) -> None:
    """Let a paused drip go on."""
    await _set_state(brand, drip_id, DripState.LIVE, as_json=as_json)


async def _set_state(brand: str, drip_id: int, state: DripState, *, as_json: bool) -> None:
    async with database() as connection:
        owner = await find_brand(connection, brand)
        show_one(await set_drip_state(connection, owner.id, drip_id, state), as_json=as_json)
