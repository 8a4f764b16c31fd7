"""`mailement subscriber`: look people up, and say what a provider would report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from mailement_cli.output import plain, show_many, show_one, to_json
from mailement_cli.pages import id_cursor_option, limit_option, show_page
from mailement_cli.session import Fault, brand_option, command, database, database_pool, json_option
from mailement_common.ids import SubscriberId
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.catalog.subscribers import list_subscribers, show_subscriber
from mailement_newsletter.commands import ByEmail, ById, Subscribe, Who
from mailement_newsletter.ids import RunId
from mailement_newsletter.rules.addresses import parse_address
from mailement_newsletter.rules.lifecycle import SubscriberStatus
from mailement_newsletter.usecases import leave
from mailement_newsletter.usecases.list_runs_of_subscriber import list_runs_of_subscriber
from mailement_newsletter.usecases.subscribe import subscribe

_COLUMNS: Final = ("id", "email", "status", "first_name", "last_name", "source", "created_at")
_RUN_COLUMNS: Final = ("id", "drip_id", "run_no", "state", "exit_reason", "enrolled_at", "next_run_at")
_ENROLLMENT_COLUMNS: Final = ("drip_id", "drip", "state", "next_run_at", "mails_sent")


def who_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--email` or `--id`."""
    by_id = click.option("--id", "subscriber_id", type=int, help="The subscriber's id.")
    by_email = click.option("--email", help="The subscriber's address.")
    return by_email(by_id(function))


@click.group()
def subscriber() -> None:
    """Subscribers."""


@subscriber.command()
@brand_option
@click.option("--email", required=True)
@click.option("--first-name")
@click.option("--last-name")
@click.option("--city")
@click.option("--tag", "tags", multiple=True, help="A topic's slug; may be given several times.")
@click.option("--auto-confirm", is_flag=True, help="The address is verified: no double opt-in.")
@json_option
@command
async def create(
    brand: str,
    email: str,
    first_name: str | None,
    last_name: str | None,
    city: str | None,
    tags: tuple[str, ...],
    *,
    auto_confirm: bool,
    as_json: bool,
) -> None:
    """Sign somebody up, as the API would."""
    async with database_pool() as pool:
        async with pool.acquire() as connection:
            owner = await find_brand(connection, brand)
        outcome = await subscribe(
            pool,
            Subscribe(
                brand_id=owner.id,
                address=parse_address(email),
                first_name=first_name,
                last_name=last_name,
                city=city,
                tags=tags,
                source="operator",
                auto_confirm=auto_confirm,
            ),
        )
    show_one(outcome, as_json=as_json)


@subscriber.command("list")
@brand_option
@click.option("--status", type=click.Choice([status.value for status in SubscriberStatus]))
@id_cursor_option
@limit_option
@json_option
@command
async def list_(brand: str, status: str | None, cursor: int | None, limit: int, *, as_json: bool) -> None:
    """List subscribers, the newest first."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        found = await list_subscribers(
            connection,
            owner.id,
            status=SubscriberStatus(status) if status else None,
            before=cursor,
            limit=limit + 1,
        )
    shown = found[:limit]
    show_page((shown, shown[-1].id if len(found) > limit else None), as_json=as_json, columns=_COLUMNS)


@subscriber.command()
@brand_option
@who_options
@json_option
@command
async def show(brand: str, email: str | None, subscriber_id: int | None, *, as_json: bool) -> None:
    """Show a subscriber with topics and enrolments."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        details = await show_subscriber(connection, owner.id, who_of(email, subscriber_id))
    if as_json:
        body = {**plain(details.subscriber), "topics": details.topics, "enrollments": details.enrollments}
        click.echo(to_json(body))
        return
    topics = [topic.slug for topic in details.topics]
    show_one({**plain(details.subscriber), "topics": topics}, as_json=False)
    click.echo("\nenrolments")
    show_many(details.enrollments, as_json=False, columns=_ENROLLMENT_COLUMNS)


@subscriber.command()
@brand_option
@who_options
@id_cursor_option
@limit_option
@json_option
@command
async def runs(
    brand: str, email: str | None, subscriber_id: int | None, cursor: int | None, limit: int, *, as_json: bool
) -> None:
    """List the runs of a subscriber through all drips, the newest first; `drip explain` tells more of one."""
    async with database() as connection:
        owner = await find_brand(connection, brand)
        page = await list_runs_of_subscriber(
            connection,
            owner.id,
            who_of(email, subscriber_id),
            limit=limit,
            before=None if cursor is None else RunId(cursor),
        )
    show_page((page.runs, page.cursor), as_json=as_json, columns=_RUN_COLUMNS)


@subscriber.command()
@brand_option
@who_options
@json_option
@command
async def unsubscribe(brand: str, email: str | None, subscriber_id: int | None, *, as_json: bool) -> None:
    """Opt a subscriber out."""
    await _leave(leave.unsubscribe, brand, who_of(email, subscriber_id), as_json=as_json)


@subscriber.command("mark-bounced")
@brand_option
@who_options
@json_option
@command
async def mark_bounced(brand: str, email: str | None, subscriber_id: int | None, *, as_json: bool) -> None:
    """Take a subscriber out as after a permanent bounce."""
    await _leave(leave.mark_bounced, brand, who_of(email, subscriber_id), as_json=as_json)


@subscriber.command("mark-complained")
@brand_option
@who_options
@json_option
@command
async def mark_complained(brand: str, email: str | None, subscriber_id: int | None, *, as_json: bool) -> None:
    """Take a subscriber out as after a spam complaint."""
    await _leave(leave.mark_complained, brand, who_of(email, subscriber_id), as_json=as_json)


async def _leave(deed: Callable[..., Any], brand: str, who: Who, *, as_json: bool) -> None:
    async with database_pool() as pool:
        async with pool.acquire() as connection:
            owner = await find_brand(connection, brand)
        show_one(await deed(pool, owner.id, who), as_json=as_json)


def who_of(email: str | None, subscriber_id: int | None) -> Who:
    if email is not None:
        return ByEmail(address=parse_address(email))
    if subscriber_id is not None:
        return ById(subscriber_id=SubscriberId(subscriber_id))
    raise Fault("say who: --email or --id")
