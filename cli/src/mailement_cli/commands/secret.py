"""`mailement secret`: keys that seal what is stored."""

from __future__ import annotations

import secrets

import click

from mailement_cli.output import show_one
from mailement_cli.session import json_option
from mailement_common.sealing import new_key


@click.group()
def secret() -> None:
    """The keys in MAILEMENT_SECRET_KEYS."""


@secret.command("new")
@click.option("--id", "key_id", help="The key's name in the ring; made up if left out.")
@json_option
def new(key_id: str | None, *, as_json: bool) -> None:
    """Print a fresh entry for MAILEMENT_SECRET_KEYS."""
    entry = new_key(key_id or f"k{secrets.token_hex(3)}")
    if as_json:
        show_one({"secret_key": entry}, as_json=True)
    else:
        click.echo(entry)
