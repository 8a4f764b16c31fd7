"""`mailement webhook deliveries | delivery | explain | resend | remove-payload`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import click

from mailement_cli.commands.values import Moment
from mailement_cli.output import plain, say, show_block, show_many, show_one, to_json
from mailement_cli.pages import Page, cursor_option, full_page, limit_option, show_page
from mailement_cli.session import command, database, json_option
from mailement_newsletter.catalog.brands import find_brand
from mailement_webhooks.deliveries import Attempt, Delivery, DeliveryState
from mailement_webhooks.ids import DeliveryId, EndpointId
from mailement_webhooks.usecases.list_deliveries import DeliveryFilter, list_deliveries
from mailement_webhooks.usecases.remove_payload import remove_payload
from mailement_webhooks.usecases.resend_delivery import resend_delivery
from mailement_webhooks.usecases.show_delivery import show_delivery

_WAITING: Final = {DeliveryState.PENDING, DeliveryState.HELD}
_COLUMNS: Final = ("id", "endpoint_id", "type", "state", "reason", "attempts", "created_at")
_ATTEMPT_COLUMNS: Final = (
    *("number", "trigger", "outcome", "reason", "status_code", "duration_ms"),
    *("started_at", "next_attempt_at", "detail"),
)


@click.command()
@click.option("--brand", metavar="SLUG", help="Only this brand's, also those for webhooks of its account.")
@click.option("--endpoint", "endpoint_id", type=int, metavar="ID", help="Only those for this webhook.")
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]))
@click.option("--type", "event_type", metavar="TYPE", help="Only those of this event.")
@click.option("--since", type=Moment(), help="Only events from then on: 2026-05-19T17:42, or 2h.")
@click.option("--until", type=Moment(), help="Only events before then.")
@cursor_option
@limit_option
@json_option
@command
async def deliveries(
    brand: str | None,
    endpoint_id: int | None,
    state: str | None,
    event_type: str | None,
    since: datetime | None,
    until: datetime | None,
    cursor: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List deliveries, the newest first; what waits, in the order of its turn."""
    if brand is None and endpoint_id is None:
        raise click.UsageError("say whose: --brand, --endpoint, or both")
    async with database() as connection:
        wanted = DeliveryFilter(
            brand_id=(await find_brand(connection, brand)).id if brand else None,
            endpoint_id=None if endpoint_id is None else EndpointId(endpoint_id),
            state=DeliveryState(state) if state else None,
            type=event_type,
            occurred_from=since,
            occurred_until=until,
        )

        async def fetch(limit: int, cursor: str | None) -> Page[Delivery, str]:
            page = await list_deliveries(connection, wanted, limit=limit, cursor=cursor)
            return page.deliveries, page.cursor

        page = await full_page(fetch, limit=limit, cursor=cursor)
    waits = state is not None and DeliveryState(state) in _WAITING
    last_column = "next_attempt_at" if waits else "finished_at"
    show_page(page, as_json=as_json, columns=(*_COLUMNS, last_column))


@click.command()
@click.argument("delivery_id", metavar="ID", type=int)
@click.option("--full", is_flag=True, help="Also what was sent and answered: it can tell of subscribers.")
@json_option
@command
async def delivery(delivery_id: int, *, full: bool, as_json: bool) -> None:
    """Show a delivery with every attempt."""
    async with database() as connection:
        report = await show_delivery(connection, DeliveryId(delivery_id))
    if as_json:
        told = report if full else replace(report, attempts=tuple(map(_without_exchange, report.attempts)))
        fields = plain(told)
        click.echo(to_json(fields if full else {**fields, "body": None}))
        return
    show_one({**plain(report.delivery), "profile": report.profile}, as_json=False)
    click.echo("\nattempts")
    show_many(report.attempts, as_json=False, columns=_ATTEMPT_COLUMNS)
    if full:
        show_block("body", _text(report.body))
        _show_exchanges(report.attempts)


@click.command()
@click.argument("delivery_id", metavar="ID", type=int)
@json_option
@command
async def resend(delivery_id: int, *, as_json: bool) -> None:
    """Send a delivery once more, or now instead of later."""
    async with database() as connection:
        again = await resend_delivery(connection, DeliveryId(delivery_id))
    show_one(again, as_json=as_json)
    if not as_json:
        click.echo()
        say(_after_resend(again))


@click.command("remove-payload")
@click.argument("delivery_id", metavar="ID", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@command
async def remove(delivery_id: int, *, yes: bool, as_json: bool) -> None:
    """Remove what a delivery carried, for good, and what was answered to it."""
    async with database() as connection:
        found = (await show_delivery(connection, DeliveryId(delivery_id))).delivery
        if not yes:
            click.confirm(
                f"Remove the payload of {found.type} from all deliveries of event {found.event_id}?",
                abort=True,
                err=True,
            )
        removed = await remove_payload(connection, found.id)
    show_one(removed, as_json=as_json)


def _show_exchanges(attempts: Sequence[Attempt]) -> None:
    for attempt in attempts:
        show_block(f"attempt {attempt.number}: request", attempt.request_head)
        show_block(f"attempt {attempt.number}: answer ({_phases(attempt)})", attempt.response_head)
        show_block(f"attempt {attempt.number}: answer's body", attempt.response_body)


def _phases(attempt: Attempt) -> str:
    reached = {name: took for name, took in plain(attempt.phases).items() if took is not None}
    return ", ".join(f"{name.replace('_', ' ')} {took} ms" for name, took in reached.items())


def _without_exchange(attempt: Attempt) -> Attempt:
    return replace(attempt, request_head=None, response_head=None, response_body=None)


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode(errors="backslashreplace")


def _after_resend(again: Delivery) -> str:
    if again.state is DeliveryState.HELD:
        return f"It is held: `webhook explain {again.id}` says by what."
    return f"It goes out next: `webhook delivery {again.id}` shows what comes of it."
