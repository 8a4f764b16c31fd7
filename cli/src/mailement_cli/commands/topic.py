"""`mailement topic`: what subscribers can choose."""

from __future__ import annotations

from typing import Final

import click

from mailement_cli.output import show_many, show_one
from mailement_cli.session import brand_option, command, database, json_option
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.catalog.topics import create_topic, find_topic, list_topics, list_unknown_topics

_COLUMNS: Final = ("id", "slug", "name", "is_public", "created_at")


@click.group()
def topic() -> None:
    """Topics, which callers also call tags."""


@topic.command()
@brand_option
@click.option("--slug", required=True)
@click.option("--name", required=True)
@click.option("--private", is_flag=True, help="Not to be chosen by `topic_ids`.")
@json_option
@command
async def create(brand: str, slug: str, name: str, *, private: bool, as_json: bool) -> None:
    """Create a topic."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        show_one(
            await create_topic(connection, owner.id, slug=slug, name=name, is_public=not private),
            as_json=as_json,
        )


@topic.command("list")
@brand_option
@json_option
@command
async def list_(brand: str, *, as_json: bool) -> None:
    """List a brand's topics."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        show_many(await list_topics(connection, owner.id), as_json=as_json, columns=_COLUMNS)


@topic.command()
@click.argument("slug")
@brand_option
@json_option
@command
async def show(slug: str, brand: str, *, as_json: bool) -> None:
    """Show one topic."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        show_one(await find_topic(connection, owner.id, slug), as_json=as_json)


@topic.command()
@brand_option
@json_option
@command
async def unknown(brand: str, *, as_json: bool) -> None:
    """List the slugs that callers got wrong."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        found = await list_unknown_topics(connection, owner.id)
    show_many(found, as_json=as_json, columns=("slug", "first_seen", "last_seen", "days"))
