"""`mailement key`: who may call the API."""

from __future__ import annotations

from typing import Final

import click

from mailement_cli.output import show_many, show_one, to_json
from mailement_cli.session import brand_option, command, database, json_option
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.catalog.keys import create_key, find_key_by_id, list_keys, revoke_key
from mailement_newsletter.rules.scopes import KeyScope

_COLUMNS: Final = ("id", "brand", "name", "dialect", "last_four", "scopes", "last_used_at", "revoked_at")


@click.group()
def key() -> None:
    """API keys: shown once, stored as a hash."""


@key.command()
@brand_option
@click.option("--name", required=True, help="What the key is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in KeyScope]),
    help="What it may do beside the documented calls and reading; may be given several times.",
)
@json_option
@command
async def create(
    brand: str,
    name: str,
    scopes: tuple[str, ...],
    *,
    as_json: bool,  # noqa: ARG001  the answer is JSON anyway
) -> None:
    """Create a key and print it, this once, as JSON."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        made = await create_key(connection, owner, name=name, scopes=[KeyScope(scope) for scope in scopes])
    click.echo(to_json({"id": made.id, "key": made.key}))


@key.command("list")
@click.option("--brand", metavar="SLUG", help="Only this brand's keys.")
@json_option
@command
async def list_(brand: str | None, *, as_json: bool) -> None:
    """List keys, with their last use."""
    async with database() as connection:
        brand_id = (await find_brand(connection, brand)).id if brand else None
        show_many(await list_keys(connection, brand_id), as_json=as_json, columns=_COLUMNS)


@key.command()
@click.argument("key_id", type=int)
@json_option
@command
async def show(key_id: int, *, as_json: bool) -> None:
    """Show what is known of one key."""
    async with database() as connection:
        show_one(await find_key_by_id(connection, key_id), as_json=as_json)


@key.command()
@click.argument("key_id", type=int)
@json_option
@command
async def revoke(key_id: int, *, as_json: bool) -> None:
    """Revoke a key, at once and for good."""
    async with database() as connection:
        show_one(await revoke_key(connection, key_id), as_json=as_json)
