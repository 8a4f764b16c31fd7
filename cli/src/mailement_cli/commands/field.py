"""`mailement field`: the custom fields that a brand knows."""

from __future__ import annotations

from typing import Final

import click

from mailement_cli.output import show_many, show_one
from mailement_cli.session import brand_option, command, database, json_option
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.catalog.fields import create_field, find_field, list_fields

_COLUMNS: Final = ("id", "key", "name", "created_at")


@click.group()
def field() -> None:
    """Custom fields: any other key that callers send is dropped."""


@field.command()
@brand_option
@click.option("--key", required=True)
@click.option("--name", help="What people call it; the key if left out.")
@json_option
@command
async def create(brand: str, key: str, name: str | None, *, as_json: bool) -> None:
    """Create a custom field."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        show_one(await create_field(connection, owner.id, key=key, name=name or key), as_json=as_json)


@field.command("list")
@brand_option
@json_option
@command
async def list_(brand: str, *, as_json: bool) -> None:
    """List a brand's custom fields."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        show_many(await list_fields(connection, owner.id), as_json=as_json, columns=_COLUMNS)


@field.command()
@click.argument("key")
@brand_option
@json_option
@command
async def show(key: str, brand: str, *, as_json: bool) -> None:
    """Show one custom field."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        show_one(await find_field(connection, owner.id, key), as_json=as_json)
