"""`mailement event`: what people did elsewhere, as an integrator would report it."""

from __future__ import annotations

import click

from mailement_cli.commands.subscriber import who_of, who_options
from mailement_cli.commands.values import Pair
from mailement_cli.output import show_one
from mailement_cli.session import brand_option, command, database_pool, json_option
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.commands import ReportEvent
from mailement_newsletter.usecases.report_event import report_event


@click.group()
def event() -> None:
    """Events: what subscribers did elsewhere. Drips start and end by them."""


@event.command()
@click.argument("name")
@brand_option
@who_options
@click.option(
    "--event-id", "given_id", metavar="ID", help="Yours: what is reported again with it happens once."
)
@click.option(
    "--property",
    "properties",
    type=Pair(),
    multiple=True,
    metavar="KEY=VALUE",
    help="What else is to be told.",
)
@json_option
@command
async def report(
    name: str,
    brand: str,
    email: str | None,
    subscriber_id: int | None,
    given_id: str | None,
    properties: tuple[tuple[str, str], ...],
    *,
    as_json: bool,
) -> None:
    """Report that a subscriber did something: NAME is the brand's own word for it."""
    async with database_pool() as pool:
        async with pool.acquire() as connection:
            owner = await find_brand(connection, brand)
        command_ = ReportEvent(
            brand_id=owner.id,
            who=who_of(email, subscriber_id),
            name=name,
            properties=dict(properties),
            given_id=given_id,
        )
        reported = await report_event(pool, command_)
    show_one(reported, as_json=as_json)
