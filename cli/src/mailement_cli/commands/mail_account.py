"""`mailement mail-account`: the relays and APIs that senders send through."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TextIO

import click

from mailement_cli.commands.values import Limit, Moment
from mailement_cli.output import show_many, show_one
from mailement_cli.session import Fault, command, database, json_option, key_ring
from mailement_newsletter.catalog.accounts import find_account
from mailement_newsletter.catalog.mail_accounts import (
    NewMailAccount,
    create_mail_account,
    find_mail_account,
    list_mail_accounts,
    set_mail_account_state,
    update_mail_account,
)
from mailement_newsletter.queries.senders import park as park_account
from mailement_newsletter.queries.senders import unpark as unpark_account
from mailement_newsletter.rules.mail_accounts import AccountProvider, takes_secret
from mailement_newsletter.rules.senders import MailAccountState

_COLUMNS: Final = (
    *("id", "name", "account", "provider", "per_second", "senders", "state", "parked_until", "parked_reason"),
)
_MAX_SECRET: Final = 4_096
_SETTINGS: Final = ("host", "port", "tls", "user", "url", "folder")


def _settings_options(function: Callable[..., None]) -> Callable[..., None]:
    """What the providers have to be told. The secret is never an argument: others could read it in the process list."""
    for option in (
        click.option(
            "--secret-file",
            type=click.File(encoding="utf-8"),
            help="Where the password or API key stands; `-`: standard input, which is read or asked anyway.",
        ),
        click.option(
            "--per-second",
            type=Limit(click.FLOAT),
            metavar="N|none",
            help="Mails a second, of all mailers together.",
        ),
        click.option("--folder", help="file: where `.eml` files are put."),
        click.option("--url", help="resend: the base of its API."),
        click.option("--user", help="smtp: the name to log in with."),
        click.option(
            "--tls",
            type=click.Choice(["none", "starttls", "tls", "opportunistic"]),
            help="smtp: starttls if left out.",
        ),
        click.option("--port", type=int, help="smtp: the relay's port, if it is not the usual one."),
        click.option("--host", help="smtp: the relay's name or address."),
    ):
        function = option(function)
    return function


@click.group("mail-account")
def mail_account() -> None:
    """Mail accounts: relays and APIs besides the one of the settings."""


@mail_account.command()
@click.option("--name", required=True, help="What senders call it: a-z, 0-9 and -.")
@click.option(
    "--provider", type=click.Choice([provider.value for provider in AccountProvider]), required=True
)
@click.option("--account", metavar="SLUG", help="Whose senders may use it; all, if left out.")
@_settings_options
@json_option
@command
async def create(
    name: str,
    provider: str,
    account: str | None,
    per_second: float | None,
    secret_file: TextIO | None,
    *,
    as_json: bool,
    **told: Any,  # noqa: ANN401  the options above
) -> None:
    """Create a mail account. A secret comes from a file, standard input, or the terminal."""
    settings = _told(told)
    kind = AccountProvider(provider)
    secret = _secret(secret_file) if secret_file or takes_secret(kind, settings) else None
    keys = key_ring()
    async with database() as connection:
        new = NewMailAccount(
            name=name,
            provider=kind,
            settings=settings,
            account_id=(await find_account(connection, account)).id if account else None,
            per_second=per_second or None,
        )
        show_one(await create_mail_account(connection, keys, new, secret=secret), as_json=as_json)


@mail_account.command("list")
@json_option
@command
async def list_(*, as_json: bool) -> None:
    """List the mail accounts."""
    async with database() as connection:
        show_many(await list_mail_accounts(connection), as_json=as_json, columns=_COLUMNS)


@mail_account.command()
@click.argument("name")
@json_option
@command
async def show(name: str, *, as_json: bool) -> None:
    """Show a mail account: its settings, its state, and the pace that its provider asks for."""
    async with database() as connection:
        show_one(await find_mail_account(connection, name), as_json=as_json)


@mail_account.command()
@click.argument("name")
@_settings_options
@json_option
@command
async def update(
    name: str,
    per_second: float | None,
    secret_file: TextIO | None,
    *,
    as_json: bool,
    **told: Any,  # noqa: ANN401  the options above
) -> None:
    """Change what is given of a mail account; `none` takes a setting or the rate away."""
    changes = _told(told)
    if not changes and per_second is None and secret_file is None:
        raise Fault("say what to change: --host, --user, --per-second, --secret-file, …")
    secret = None if secret_file is None else _secret(secret_file)
    keys = key_ring()
    async with database() as connection:
        found = await find_mail_account(connection, name)
        settings = {**found.settings, **changes}
        changed = await update_mail_account(
            connection,
            keys,
            found,
            settings={key: value for key, value in settings.items() if value != "none" or key == "tls"},
            per_second=found.per_second if per_second is None else per_second or None,
            secret=secret,
        )
    show_one(changed, as_json=as_json)


@mail_account.command()
@click.argument("name")
@json_option
@command
async def pause(name: str, *, as_json: bool) -> None:
    """Pause a mail account: its senders' mails go by the next sender, or wait."""
    await _set_state(name, MailAccountState.PAUSED, as_json=as_json)


@mail_account.command()
@click.argument("name")
@json_option
@command
async def resume(name: str, *, as_json: bool) -> None:
    """Resume a mail account that was paused."""
    await _set_state(name, MailAccountState.ACTIVE, as_json=as_json)


@mail_account.command()
@click.argument("name")
@click.option(
    "--until",
    type=Moment(ahead=True),
    required=True,
    metavar="MOMENT",
    help="2026-05-19T17:42, or 30m, 2h, 1d.",
)
@click.option("--reason", default="parked by an operator", show_default=True)
@json_option
@command
async def park(name: str, until: datetime, reason: str, *, as_json: bool) -> None:
    """Let a mail account rest until a moment; then it goes on by itself."""
    async with database() as connection:
        found = await find_mail_account(connection, name)
        await park_account(connection, found.id, until=until, reason=reason)
        show_one(await find_mail_account(connection, name), as_json=as_json)


@mail_account.command()
@click.argument("name")
@json_option
@command
async def unpark(name: str, *, as_json: bool) -> None:
    """End a mail account's rest, whoever ordered it."""
    async with database() as connection:
        await unpark_account(connection, (await find_mail_account(connection, name)).id)
        show_one(await find_mail_account(connection, name), as_json=as_json)


@mail_account.command()
@click.argument("name")
@json_option
@command
async def retire(name: str, *, as_json: bool) -> None:
    """Retire a mail account for good; what was sent through it stays explained."""
    await _set_state(name, MailAccountState.RETIRED, as_json=as_json)


async def _set_state(name: str, state: MailAccountState, *, as_json: bool) -> None:
    async with database() as connection:
        found = await find_mail_account(connection, name)
        show_one(await set_mail_account_state(connection, found, state), as_json=as_json)


def _told(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in _SETTINGS if options[name] is not None}


def _secret(file: TextIO | None) -> str:
    """One line; the end of it does not belong to it."""
    if file is None and sys.stdin.isatty():
        text: str = click.prompt("Secret", hide_input=True, err=True)
    else:
        source = file if file is not None else sys.stdin
        text = source.read(_MAX_SECRET + 2)
    secret = text.strip("\r\n")
    if not 0 < len(secret) <= _MAX_SECRET or not secret.isprintable():
        raise Fault(f"the secret is one line of text of at most {_MAX_SECRET} characters")
    return secret
