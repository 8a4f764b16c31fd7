"""`mailement webhook`: where events go, what became of them, and what to do about it."""

from __future__ import annotations

import click

from mailement_cli.commands.webhook import deliveries, endpoints, events, explain, replays, secrets
from mailement_cli.commands.webhook.stored_secrets import secrets_of
from mailement_cli.commands.webhook_verify import verify_command


@click.group()
def webhook() -> None:
    """Webhooks: where events go, and what became of them."""


for entry in (
    *(endpoints.set_, endpoints.create, endpoints.list_, endpoints.show, endpoints.update),
    *(endpoints.pause, endpoints.enable, endpoints.delete),
    *(deliveries.deliveries, deliveries.delivery, explain.explain, deliveries.resend, deliveries.remove),
    *(events.events, secrets.secret, replays.replay, verify_command(secrets_of)),
):
    webhook.add_command(entry)
