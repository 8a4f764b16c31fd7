"""`mailement webhook`: where a brand's events go."""

from __future__ import annotations

from typing import Final

import click

from mailement_cli.output import plain, show_many, show_one, to_json
from mailement_cli.session import brand_option, command, database, json_option
from mailement_common.sealing import KeyRing
from mailement_common.settings import SecretSettings, load
from mailement_newsletter.catalog.brands import find_brand
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.settings import WebhookTargetSettings
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from mailement_webhooks.usecases.list_deliveries import list_deliveries
from mailement_webhooks.usecases.list_endpoints import list_endpoints
from mailement_webhooks.usecases.set_endpoint import set_endpoint
from mailement_webhooks.usecases.show_endpoint import show_endpoint

_COLUMNS: Final = ("id", "brand_id", "url", "state", "event_types", "created_at")
_DELIVERY_COLUMNS: Final = ("id", "type", "state", "reason", "tries", "created_at", "finished_at")


@click.group()
def webhook() -> None:
    """Webhooks: one URL per brand."""


@webhook.command("set")
@brand_option
@click.option("--url", required=True)
@json_option
@command
async def set_(brand: str, url: str, *, as_json: bool) -> None:
    """Set a brand's URL and print the new secret, this once."""
    keys = KeyRing(load(SecretSettings).secret_keys.get_secret_value())
    guard = Guard(allow=load(WebhookTargetSettings).webhook_allow_cidrs)
    async with database() as connection:
        owner = await find_brand(connection, brand)
        endpoint, secret = await set_endpoint(connection, keys, owner.id, owner.account_id, url, guard=guard)
    show_one({"id": endpoint.id, "url": endpoint.url, "secret": secret}, as_json=as_json)


# Every noun has a `create`; with one URL per brand it is the same deed.
webhook.add_command(set_, "create")


@webhook.command("list")
@json_option
@command
async def list_(*, as_json: bool) -> None:
    """List the URLs of all brands."""
    async with database() as connection:
        show_many(await list_endpoints(connection), as_json=as_json, columns=_COLUMNS)


@webhook.command()
@brand_option
@json_option
@command
async def show(brand: str, *, as_json: bool) -> None:
    """Show a brand's URL, how its deliveries fare, and the last failure."""
    async with database() as connection:
        report = await show_endpoint(connection, (await find_brand(connection, brand)).id)
    if as_json:
        click.echo(to_json(report))
        return
    flat = plain(report)
    show_one({**flat.pop("endpoint"), **flat}, as_json=False)


@webhook.command()
@brand_option
@json_option
@command
async def delete(brand: str, *, as_json: bool) -> None:
    """Take a brand's URL away."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        await delete_endpoint(connection, owner.id)
    show_one({"brand": brand, "deleted": True}, as_json=as_json)


@webhook.command()
@brand_option
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]))
@click.option("--before", type=int, help="Only ids below this one: the next page.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
@command
async def deliveries(brand: str, state: str | None, before: int | None, limit: int, *, as_json: bool) -> None:
    """List what was posted, with every attempt, the newest first."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        found = await list_deliveries(
            connection,
            owner.id,
            state=DeliveryState(state) if state else None,
            before=None if before is None else DeliveryId(before),
            limit=limit,
        )
    rows = [{**plain(delivery), "tries": len(delivery.attempts)} for delivery in found]
    show_many(rows, as_json=as_json, columns=_DELIVERY_COLUMNS)
