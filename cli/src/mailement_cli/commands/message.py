"""`mailement message`: what mail there was, what became of it, and once more."""

from __future__ import annotations

from typing import Final

import click

from mailement_cli.output import plain, show_many, show_one, to_json
from mailement_cli.pages import Page, full_page, id_cursor_option, limit_option, show_page
from mailement_cli.session import brand_option, command, database, json_option
from mailement_common.ids import SubscriberId
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.ids import DripId, MessageId
from mailement_newsletter.rules.messages import MessageState
from mailement_newsletter.rules.senders import MailKind
from mailement_newsletter.usecases.list_messages import MessageFilter, list_messages
from mailement_newsletter.usecases.message_view import MessageView
from mailement_newsletter.usecases.retry_message import Retried, retry_message
from mailement_newsletter.usecases.show_message import show_message

_COLUMNS: Final = (
    "id",
    "subscriber_id",
    "kind",
    "drip_id",
    "state",
    "finished_at",
    "reason",
)
_ATTEMPT_COLUMNS: Final = ("number", "started_at", "provider", "outcome", "code", "duration_ms", "reason")
_WAYS: Final = {
    Retried.ANEW: "It is composed once more and leaves under a new key.",
    Retried.AS_IT_IS: "It goes out as it was; if it had arrived, it arrives twice.",
    Retried.UNDER_ITS_KEY: "It goes out under the key that its provider knows: it arrives once.",
    Retried.WITH_ITS_BATCH: "Its batch goes out under the key that its provider knows: each mail arrives once.",
}


@click.group()
def message() -> None:
    """Mails: one to one address each, with every attempt to send them."""


@message.command("list")
@brand_option
@click.option("--subscriber", "subscriber_id", type=int, metavar="ID", help="Only those to this subscriber.")
@click.option("--drip", "drip_id", type=int, metavar="ID", help="Only those of this drip.")
@click.option("--kind", type=click.Choice([kind.value for kind in MailKind]))
@click.option("--state", type=click.Choice([state.value for state in MessageState]))
@id_cursor_option
@limit_option
@json_option
@command
async def list_(
    brand: str,
    subscriber_id: int | None,
    drip_id: int | None,
    kind: str | None,
    state: str | None,
    cursor: int | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List a brand's mails, the newest first."""
    async with database() as connection:
        wanted = MessageFilter(
            brand_id=(await find_brand(connection, brand)).id,
            subscriber_id=None if subscriber_id is None else SubscriberId(subscriber_id),
            drip_id=None if drip_id is None else DripId(drip_id),
            kind=None if kind is None else MailKind(kind),
            state=None if state is None else MessageState(state),
        )

        async def fetch(limit: int, before: MessageId | None) -> Page[MessageView, MessageId]:
            page = await list_messages(connection, wanted, limit=limit, before=before)
            return page.messages, page.before

        page = await full_page(fetch, limit=limit, cursor=None if cursor is None else MessageId(cursor))
    show_page(page, as_json=as_json, columns=_COLUMNS)


@message.command()
@click.argument("message_id", metavar="ID", type=int)
@brand_option
@json_option
@command
async def show(message_id: int, brand: str, *, as_json: bool) -> None:
    """Show a mail and every attempt to send it."""
    async with database() as connection:
        found = await find_brand(connection, brand)
        report = await show_message(connection, MessageId(message_id), brand_id=found.id)
    if as_json:
        click.echo(to_json(plain(report)))
        return
    show_one(report.message, as_json=False)
    click.echo("\nattempts")
    show_many(report.attempts, as_json=False, columns=_ATTEMPT_COLUMNS)


@message.command()
@click.argument("message_id", metavar="ID", type=int)
@brand_option
@json_option
@command
async def retry(message_id: int, brand: str, *, as_json: bool) -> None:
    """Send a mail once more that has failed or is uncertain. Whoever has left since gets none."""
    async with database() as connection:
        found = await find_brand(connection, brand)
        way = await retry_message(connection, MessageId(message_id), brand_id=found.id)
    if as_json:
        click.echo(to_json({"id": message_id, "retried": way}))
        return
    click.echo(_WAYS[way])
