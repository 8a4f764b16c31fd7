"""`mailement secret`: keys that seal what is stored."""

from __future__ import annotations

import secrets
from typing import Final

import click

from mailement_cli.output import say, show_one
from mailement_cli.session import Fault, command, database, json_option, key_ring
from mailement_common.db.pool import Connection
from mailement_common.sealing import key_id_of, new_key
from mailement_newsletter.catalog.sending_secrets import reseal_sending_secrets
from mailement_webhooks.usecases.list_endpoints import list_endpoints
from mailement_webhooks.usecases.load_endpoints import load_endpoints
from mailement_webhooks.usecases.reseal_secrets import reseal_secrets

_CHUNK: Final = 500


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


@secret.command()
@json_option
@command
async def reseal(*, as_json: bool) -> None:
    """Seal everything stored with the first key, so that no other is needed for it."""
    keys = key_ring()
    async with database() as connection:
        resealed = await reseal_secrets(connection, keys)
        sending = await reseal_sending_secrets(connection, keys)
        in_use = sorted({*await _key_ids_in_use(connection), *sending.key_ids})
    show_one(
        {
            "secrets": resealed.secrets + sending.resealed,
            "endpoints": resealed.endpoints,
            "key_ids_in_use": in_use,
        },
        as_json=as_json,
    )
    if resealed.unreadable or sending.unreadable:
        webhooks = [f"webhooks {', '.join(map(str, resealed.unreadable))}"] if resealed.unreadable else []
        owners = "; ".join([*sending.unreadable, *webhooks])
        raise Fault(f"some secrets stay as they are, because their keys are not in the ring: of {owners}")
    if not as_json:
        click.echo()
        say(
            f"Nothing stored needs another key than {keys.sealing_key_id}. Links in mails that have been sent were "
            "signed with the keys of their time, and end when those are taken out of MAILEMENT_SECRET_KEYS."
        )


async def _key_ids_in_use(connection: Connection) -> set[str]:
    ids = [endpoint.id for endpoint in await list_endpoints(connection)]
    used = set[str]()
    for first in range(0, len(ids), _CHUNK):
        for stored in await load_endpoints(connection, ids[first : first + _CHUNK]):
            sealed = (stored.secret_sealed, stored.secret_staged_sealed, stored.secret_previous_sealed)
            used.update(key_id_of(text) for text in sealed if text is not None)
    return used
