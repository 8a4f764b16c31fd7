"""`mailement dkim`: keys that a domain's mail is signed with, and the DNS records that go with them."""

from __future__ import annotations

import re
from typing import Any, Final

import click

from mailement_cli.output import plain, say, show_many, show_one
from mailement_cli.session import Fault, command, database, json_option, key_ring
from mailement_common.sealing import CannotOpen
from mailement_mailer.providers.dkim import (
    BadDkimKey,
    DkimAlgorithm,
    DkimKey,
    from_pem,
    new_key,
    record_name,
    record_value,
    to_pem,
)
from mailement_newsletter.catalog.accounts import find_account
from mailement_newsletter.catalog.dkim_keys import (
    DkimKeyReport,
    DkimKeyState,
    create_dkim_key,
    find_dkim_key,
    list_dkim_keys,
    open_dkim_key,
    set_dkim_key_state,
)

_COLUMNS: Final = ("id", "domain", "selector", "algorithm", "state", "account", "created_at")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SELECTOR: Final = re.compile(_LABEL)
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})+")


@click.group()
def dkim() -> None:
    """DKIM keys (RFC 6376), one or more for a domain."""


@dkim.command()
@click.option("--domain", required=True, help="As it stands in senders' addresses, in ASCII.")
@click.option("--selector", required=True, help="The name of this key among those of the domain.")
@click.option(
    "--algorithm",
    type=click.Choice([algorithm.value for algorithm in DkimAlgorithm]),
    default=DkimAlgorithm.RSA_SHA256.value,
    show_default=True,
    help="Not everybody can check ed25519 yet.",
)
@click.option(
    "--account", metavar="SLUG", help="Whose mail it signs; everybody's from the domain, if left out."
)
@json_option
@command
async def create(domain: str, selector: str, algorithm: str, account: str | None, *, as_json: bool) -> None:
    """Make a key and print the DNS record. It signs from `dkim activate` on, when the record can be seen."""
    domain, selector = domain.lower(), selector.lower()
    if not _DOMAIN.fullmatch(domain) or not _SELECTOR.fullmatch(selector):
        raise Fault("domain and selector are names of the DNS, in ASCII")
    keys = key_ring()
    made = new_key(domain=domain, selector=selector, algorithm=DkimAlgorithm(algorithm))
    async with database() as connection:
        report = await create_dkim_key(
            connection,
            keys,
            account_id=(await find_account(connection, account)).id if account else None,
            domain=domain,
            selector=selector,
            algorithm=algorithm,
            private_key=to_pem(made).decode(),
        )
    _show(report, made, as_json=as_json)


@dkim.command("list")
@json_option
@command
async def list_(*, as_json: bool) -> None:
    """List the keys."""
    async with database() as connection:
        show_many(await list_dkim_keys(connection), as_json=as_json, columns=_COLUMNS)


@dkim.command()
@click.argument("key_id", metavar="ID", type=int)
@json_option
@command
async def show(key_id: int, *, as_json: bool) -> None:
    """Show a key with its DNS record."""
    keys = key_ring()
    async with database() as connection:
        report = await find_dkim_key(connection, key_id)
        try:
            pem = await open_dkim_key(connection, keys, key_id)
            key = from_pem(pem.encode(), domain=report.domain, selector=report.selector)
        except (CannotOpen, BadDkimKey) as fault:
            raise Fault(str(fault)) from fault
    _show(report, key, as_json=as_json)


@dkim.command()
@click.argument("key_id", metavar="ID", type=int)
@json_option
@command
async def activate(key_id: int, *, as_json: bool) -> None:
    """Sign the domain's mail with a key, now that its record can be seen."""
    await _set_state(key_id, DkimKeyState.ACTIVE, as_json=as_json)


@dkim.command()
@click.argument("key_id", metavar="ID", type=int)
@json_option
@command
async def retire(key_id: int, *, as_json: bool) -> None:
    """Sign no more with a key. Keep its record for a week, for the mails that are on their way."""
    await _set_state(key_id, DkimKeyState.RETIRED, as_json=as_json)


async def _set_state(key_id: int, state: DkimKeyState, *, as_json: bool) -> None:
    async with database() as connection:
        found = await find_dkim_key(connection, key_id)
        show_one(await set_dkim_key_state(connection, found, state), as_json=as_json)


def _show(report: DkimKeyReport, key: DkimKey, *, as_json: bool) -> None:
    shown: dict[str, Any] = {
        **plain(report),
        "record_name": record_name(key),
        "record_type": "TXT",
        "record_value": record_value(key),
    }
    show_one(shown, as_json=as_json)
    if report.state is DkimKeyState.PENDING and not as_json:
        click.echo()
        say(
            f"Publish the record, look whether it can be seen (`dig TXT {record_name(key)}`), then "
            f"`mailement dkim activate {report.id}`."
        )
