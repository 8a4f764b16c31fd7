"""`mailement webhook secret`: a new secret without a post that the receiver cannot check."""

from __future__ import annotations

from typing import Final

import click

from mailement_cli.commands.webhook.options import Which, endpoint_argument
from mailement_cli.output import say, show_one
from mailement_cli.session import command, database, json_option, key_ring
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.errors import RotationStep
from mailement_webhooks.secrets import rotation_step
from mailement_webhooks.usecases.promote_secret import promote_secret
from mailement_webhooks.usecases.retire_secret import retire_secret
from mailement_webhooks.usecases.rollback_secret import rollback_secret
from mailement_webhooks.usecases.stage_secret import stage_secret

_NEXT: Final = {
    RotationStep.SETTLED: "Nothing is left to do: one secret signs. `secret stage` begins a rotation.",
    RotationStep.STAGED: (
        "`webhook-signature` carries both signatures now; the header of the profile still the old one alone. "
        "Let the receiver accept both secrets, then `secret promote`; or `secret rollback`."
    ),
    RotationStep.PROMOTED: (
        "The new secret signs in every header, the old one beside it in `webhook-signature`. When `webhook show` "
        "tells of no 401 or 403 since, `secret retire`; if the receiver refuses, `secret rollback`."
    ),
}


@click.group()
def secret() -> None:
    """Change a secret in steps: stage, promote, retire; roll back while there is something to go back to."""


@secret.command()
@endpoint_argument
@json_option
@command
async def stage(which: Which, *, as_json: bool) -> None:
    """Make the next secret and print it, this once; it signs beside the active one."""
    keys = key_ring()
    async with database() as connection:
        endpoint, fresh = await stage_secret(connection, keys, await which.find(connection))
    _tell(endpoint, as_json=as_json, fresh=fresh)


@secret.command()
@endpoint_argument
@json_option
@command
async def promote(which: Which, *, as_json: bool) -> None:
    """Make the staged secret the active one; the one before goes on signing beside it."""
    async with database() as connection:
        endpoint = await promote_secret(connection, await which.find(connection))
    _tell(endpoint, as_json=as_json)


@secret.command()
@endpoint_argument
@json_option
@command
async def retire(which: Which, *, as_json: bool) -> None:
    """Forget the previous secret, for good."""
    async with database() as connection:
        endpoint = await retire_secret(connection, await which.find(connection))
    _tell(endpoint, as_json=as_json)


@secret.command()
@endpoint_argument
@json_option
@command
async def rollback(which: Which, *, as_json: bool) -> None:
    """Take the last step back: drop what is staged, or let the previous secret be the active one again."""
    async with database() as connection:
        endpoint = await rollback_secret(connection, await which.find(connection))
    _tell(endpoint, as_json=as_json)


def _tell(endpoint: Endpoint, *, as_json: bool, fresh: str | None = None) -> None:
    step = rotation_step(endpoint)
    told = {"id": endpoint.id, "rotation": step, **({} if fresh is None else {"secret": fresh})}
    if as_json:
        show_one({**told, "next": _NEXT[step]}, as_json=True)
        return
    show_one(told, as_json=False)
    click.echo()
    say(_NEXT[step])
