"""`mailement account`: accounts own brands."""

from __future__ import annotations

import click

from mailement_cli.output import show_many, show_one
from mailement_cli.session import command, database, json_option
from mailement_newsletter.catalog.accounts import create_account, find_account, list_accounts


@click.group()
def account() -> None:
    """Accounts: who owns brands."""


@account.command()
@click.option("--slug", required=True)
@click.option("--name", required=True)
@json_option
@command
async def create(slug: str, name: str, *, as_json: bool) -> None:
    """Create an account."""
    async with database() as connection:
        show_one(await create_account(connection, slug=slug, name=name), as_json=as_json)


@account.command("list")
@json_option
@command
async def list_(*, as_json: bool) -> None:
    """List the accounts."""
    async with database() as connection:
        found = await list_accounts(connection)
    show_many(found, as_json=as_json, columns=("id", "slug", "name", "brands", "created_at"))


@account.command()
@click.argument("slug")
@json_option
@command
async def show(slug: str, *, as_json: bool) -> None:
    """Show one account."""
    async with database() as connection:
        show_one(await find_account(connection, slug), as_json=as_json)
