"""`mailement brand`: the tenants."""

from __future__ import annotations

from typing import Final

import click

from mailement_cli.output import show_many, show_one
from mailement_cli.session import Fault, command, database, json_option
from mailement_common.db.pool import Connection
from mailement_newsletter.catalog.accounts import Account, create_account, find_account, list_accounts
from mailement_newsletter.catalog.brands import (
    create_brand,
    delete_brand,
    find_brand,
    list_brands,
    update_brand,
)
from mailement_newsletter.rules.lifecycle import OptInMode
from mailement_webhooks.usecases.delete_endpoint import delete_endpoints_of

_COLUMNS: Final = ("id", "slug", "name", "opt_in_mode", "account", "created_at")


@click.group()
def brand() -> None:
    """Brands: each has its own subscribers, topics, drips, keys and webhook."""


@brand.command()
@click.option("--slug", required=True)
@click.option("--name", required=True)
@click.option("--opt-in", type=click.Choice([mode.value for mode in OptInMode]), required=True)
@click.option("--account", "account_slug", help="Needed when there is more than one account.")
@click.option("--from-name", help="The sender's name in mails.")
@click.option("--from-address", help="The sender's address in mails.")
@click.option("--timezone", default="UTC", help="In which drips reckon: Europe/Berlin, …; UTC if not given.")
@json_option
@command
async def create(
    slug: str,
    name: str,
    opt_in: str,
    account_slug: str | None,
    from_name: str | None,
    from_address: str | None,
    timezone: str,
    *,
    as_json: bool,
) -> None:
    """Create a brand."""
    async with database() as connection, connection.transaction():
        owner = await _account(connection, account_slug)
        made = await create_brand(
            connection,
            account_id=owner.id,
            slug=slug,
            name=name,
            opt_in=OptInMode(opt_in),
            sender_name=from_name,
            sender_address=from_address,
            timezone=timezone,
        )
    show_one(made, as_json=as_json)


@brand.command("list")
@json_option
@command
async def list_(*, as_json: bool) -> None:
    """List the brands."""
    async with database() as connection:
        show_many(await list_brands(connection), as_json=as_json, columns=_COLUMNS)


@brand.command()
@click.argument("slug")
@json_option
@command
async def show(slug: str, *, as_json: bool) -> None:
    """Show one brand."""
    async with database() as connection:
        show_one(await find_brand(connection, slug), as_json=as_json)


@brand.command()
@click.argument("slug")
@click.option("--name")
@click.option("--opt-in", type=click.Choice([mode.value for mode in OptInMode]))
@click.option("--from-name", help="The sender's name in mails.")
@click.option("--from-address", help="The sender's address in mails.")
@click.option("--timezone", help="In which drips reckon; what waits in them is reckoned anew.")
@json_option
@command
async def update(
    slug: str,
    name: str | None,
    opt_in: str | None,
    from_name: str | None,
    from_address: str | None,
    timezone: str | None,
    *,
    as_json: bool,
) -> None:
    """Change what is given of a brand."""
    async with database() as connection:
        changed = await update_brand(
            connection,
            await find_brand(connection, slug),
            name=name,
            opt_in=OptInMode(opt_in) if opt_in else None,
            sender_name=from_name,
            sender_address=from_address,
            timezone=timezone,
        )
    show_one(changed, as_json=as_json)


@brand.command()
@click.argument("slug")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@command
async def delete(slug: str, *, yes: bool, as_json: bool) -> None:
    """Delete a brand: its keys stop working, nothing is sent for it any more."""
    async with database() as connection:
        found = await find_brand(connection, slug)
        if not yes:
            click.confirm(f"Delete brand {slug!r}?", abort=True, err=True)
        async with connection.transaction():
            await delete_brand(connection, found)
            await delete_endpoints_of(connection, found.id)
    show_one({"id": found.id, "slug": found.slug, "deleted": True}, as_json=as_json)


async def _account(connection: Connection, slug: str | None) -> Account:
    """The named account, or the only one, or a first one that is made for the first brand."""
    if slug is not None:
        return await find_account(connection, slug)
    accounts = await list_accounts(connection)
    if not accounts:
        return await create_account(connection, slug="default", name="Default account")
    if len(accounts) > 1:
        raise Fault("there is more than one account: say which with --account")
    return accounts[0]
