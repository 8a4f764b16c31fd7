"""`mailement webhook events`: what an endpoint was sent, or will be, by the numbers in `webhook-sequence`."""

from __future__ import annotations

from typing import Final

import click

from mailement_cli.commands.webhook.options import Which, endpoint_argument
from mailement_cli.output import show_many, to_json
from mailement_cli.session import command, database, json_option
from mailement_webhooks.ids import Sequence
from mailement_webhooks.usecases.pull_events import pull_events

_COLUMNS: Final = ("sequence", "delivery_id", "event_id", "type", "occurred_at", "state")


@click.command()
@endpoint_argument
@click.option("--after", type=click.IntRange(0), default=0, show_default=True, help="The last number known.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@command
async def events(which: Which, after: int, limit: int, *, as_json: bool) -> None:
    """List an endpoint's events in their order; in JSON with the bodies, as they are posted."""
    async with database() as connection:
        pulled = await pull_events(
            connection, await which.find(connection), after=Sequence(after), limit=limit
        )
    if as_json:
        click.echo(to_json({"events": pulled.events, "after": pulled.after, "last": pulled.last}))
        return
    show_many(pulled.events, as_json=False, columns=_COLUMNS)
    if pulled.after < pulled.last:
        click.echo(f"there are more, up to {pulled.last}: --after {pulled.after}", err=True)
