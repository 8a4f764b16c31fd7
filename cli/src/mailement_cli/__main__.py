"""`mailement`: everything that an operator does."""

from __future__ import annotations

import click

from mailement_cli.commands.account import account
from mailement_cli.commands.brand import brand
from mailement_cli.commands.demo import demo
from mailement_cli.commands.dev import dev
from mailement_cli.commands.dkim import dkim
from mailement_cli.commands.drip import drip
from mailement_cli.commands.event import event
from mailement_cli.commands.field import field
from mailement_cli.commands.key import key
from mailement_cli.commands.mail_account import mail_account
from mailement_cli.commands.message import message
from mailement_cli.commands.migrate import migrate
from mailement_cli.commands.run import run
from mailement_cli.commands.secret import secret
from mailement_cli.commands.sender import sender
from mailement_cli.commands.subscriber import subscriber
from mailement_cli.commands.topic import topic
from mailement_cli.commands.torture_receiver import torture_receiver
from mailement_cli.commands.webhook import webhook


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mailement-cli")
def main() -> None:
    """Mailement: a self-hosted newsletter back end."""


for entry in (
    *(migrate, run, account, brand, key, topic, field, subscriber, drip, event, webhook, secret),
    *(message, sender, mail_account, dkim),
    *(dev, demo, torture_receiver),
):
    main.add_command(entry)

if __name__ == "__main__":
    main()
