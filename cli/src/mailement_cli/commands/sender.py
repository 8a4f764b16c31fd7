"""`mailement sender`: in whose name a brand's mail leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click
from typing_extensions import override

from mailement_cli.commands.values import Limit
from mailement_cli.output import show_many, show_one
from mailement_cli.session import Fault, brand_option, command, database, json_option
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.catalog.senders import (
    SenderTerms,
    create_sender,
    find_sender,
    list_senders,
    set_sender_state,
    update_sender,
)
from mailement_newsletter.rules.senders import MailKind, SenderId, SenderState
from mailement_newsletter.rules.warmup import Warmup

_COLUMNS: Final = (
    *("id", "brand", "address", "kinds", "rank"),
    *("daily_limit", "warmup", "sent_today", "state"),
)
_NONE: Final = "none"


class _Kinds(click.ParamType[tuple[MailKind, ...]]):
    """Kinds of mail, comma separated, or `all`."""

    name = "kinds"

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[MailKind, ...]:
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if words == ["all"]:
            return tuple(MailKind)
        try:
            return tuple(MailKind(word) for word in words)
        except ValueError:
            self.fail(f"{value!r} is not `all` or some of {', '.join(MailKind)}", param, ctx)


def _terms_options(function: Callable[..., None]) -> Callable[..., None]:
    """What can be said of a sender when it is made and changed."""
    for option in (
        click.option("--reply-to", metavar="ADDRESS", help="Where answers go; `none`: to the sender."),
        click.option("--kinds", type=_Kinds(), metavar="KIND,…", help=f"Of {', '.join(MailKind)}; or all."),
        click.option("--account", metavar="NAME", help="The mail account; `none`: the one of the settings."),
        click.option("--rank", type=int, metavar="N", help="The lowest goes first, the next take over."),
        click.option(
            "--daily-limit", type=Limit(click.INT), metavar="N|none", help="Mails on one day (UTC)."
        ),
        click.option(
            "--warmup",
            type=click.Choice([warmup.value for warmup in Warmup]),
            help="How the day's mails grow: slow, normal, fast for a mailbox, domain for newsletters.",
        ),
    ):
        function = option(function)
    return function


@click.group()
def sender() -> None:
    """Senders: names and addresses that a brand's mail comes from, with their limits."""


@sender.command()
@brand_option
@click.option("--address", required=True)
@click.option("--name", help="What readers see; the brand's name if left out.")
@_terms_options
@json_option
@command
async def create(brand: str, address: str, name: str | None, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Create a sender. Once a brand has one, all of its mail goes through its senders."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        terms = _merged(SenderTerms(name=owner.name), name=name, **given)
        show_one(await create_sender(connection, owner, address=address, terms=terms), as_json=as_json)


@sender.command("list")
@click.option("--brand", metavar="SLUG", help="Of this brand alone.")
@json_option
@command
async def list_(brand: str | None, *, as_json: bool) -> None:
    """List senders in the order in which they take over."""
    async with database() as connection:
        owner = None if brand is None else await find_brand(connection, brand)
        show_many(await list_senders(connection, owner), as_json=as_json, columns=_COLUMNS)


@sender.command()
@click.argument("sender_id", metavar="ID", type=int)
@json_option
@command
async def show(sender_id: int, *, as_json: bool) -> None:
    """Show a sender: its limits, where its warm-up stands, and what left today."""
    async with database() as connection:
        show_one(await find_sender(connection, SenderId(sender_id)), as_json=as_json)


@sender.command()
@click.argument("sender_id", metavar="ID", type=int)
@click.option("--name", help="What readers see.")
@_terms_options
@json_option
@command
async def update(sender_id: int, name: str | None, *, as_json: bool, **given: Any) -> None:  # noqa: ANN401
    """Change what is given of a sender. A warm-up that is chosen anew begins at its first day."""
    async with database() as connection:
        found = await find_sender(connection, SenderId(sender_id))
        terms = _merged(found.terms, name=name, **given)
        if terms == found.terms:
            raise Fault("say what to change: --name, --kinds, --account, --rank, --daily-limit, --warmup, …")
        owner = await find_brand(connection, found.brand)
        show_one(await update_sender(connection, owner, found, terms), as_json=as_json)


@sender.command()
@click.argument("sender_id", metavar="ID", type=int)
@json_option
@command
async def pause(sender_id: int, *, as_json: bool) -> None:
    """Pause a sender: the next in rank takes over, or the mails wait."""
    await _set_state(sender_id, SenderState.PAUSED, as_json=as_json)


@sender.command()
@click.argument("sender_id", metavar="ID", type=int)
@json_option
@command
async def resume(sender_id: int, *, as_json: bool) -> None:
    """Resume a sender."""
    await _set_state(sender_id, SenderState.ACTIVE, as_json=as_json)


async def _set_state(sender_id: int, state: SenderState, *, as_json: bool) -> None:
    async with database() as connection:
        found = await find_sender(connection, SenderId(sender_id))
        show_one(await set_sender_state(connection, found, state), as_json=as_json)


def _merged(
    terms: SenderTerms,
    *,
    name: str | None,
    reply_to: str | None,
    kinds: tuple[MailKind, ...] | None,
    account: str | None,
    rank: int | None,
    daily_limit: int | None,
    warmup: str | None,
) -> SenderTerms:
    """The terms with what was given in their place; None was not given."""
    return SenderTerms(
        name=terms.name if name is None else name,
        reply_to=_given(reply_to, terms.reply_to),
        kinds=terms.kinds if kinds is None else kinds,
        rank=terms.rank if rank is None else rank,
        mail_account=_given(account, terms.mail_account),
        daily_limit=terms.daily_limit if daily_limit is None else daily_limit or None,
        warmup=terms.warmup if warmup is None else Warmup(warmup),
    )


def _given(text: str | None, before: str | None) -> str | None:
    """`none` takes away what there was."""
    if text is None:
        return before
    return None if text == _NONE else text
