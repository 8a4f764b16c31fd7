"""`mailement webhook create | set | list | show | update | pause | enable | delete`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click
from typing_extensions import override

from mailement_cli.commands.webhook.options import Which, endpoint_argument
from mailement_cli.output import plain, say, show_many, show_one, to_json
from mailement_cli.session import Fault, brand_option, command, database, json_option, key_ring
from mailement_common.db.pool import Connection
from mailement_common.settings import load
from mailement_newsletter.catalog.accounts import find_account, list_accounts
from mailement_newsletter.catalog.brands import find_brand, list_brands
from mailement_webhooks.endpoints import Drain, Endpoint, EndpointState, Profile, RetryMode
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.advice import plain_words
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.rules.health import disabled_at
from mailement_webhooks.settings import WebhookTargetSettings
from mailement_webhooks.usecases.create_endpoint import NewEndpoint, create_endpoint
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from mailement_webhooks.usecases.enable_endpoint import enable_endpoint
from mailement_webhooks.usecases.list_endpoints import list_endpoints
from mailement_webhooks.usecases.pause_endpoint import pause_endpoint
from mailement_webhooks.usecases.set_endpoint import set_endpoint
from mailement_webhooks.usecases.show_endpoint import EndpointReport, show_endpoint
from mailement_webhooks.usecases.update_endpoint import EndpointChanges, Kept, update_endpoint

_COLUMNS: Final = ("id", "brand", "account", "profile", "state", "url", "description")

Value = TypeVar("Value")


class _Limit(click.ParamType[float | Kept | None]):
    """A number, or `none` for no limit of its own."""

    name = "number"

    def __init__(self, number: click.ParamType[Any]) -> None:
        self._number = number

    @override
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | Kept | None:
        if isinstance(value, Kept):
            return value
        if str(value).strip().lower() == "none":
            return None
        number: float = self._number.convert(value, param, ctx)
        return number


_event_option = click.option(
    "--event", "event_types", multiple=True, metavar="TYPE", help="What it hears; may be given several times."
)
_description_option = click.option("--description", help="For people, to tell it from others.")
_retries_option = click.option(
    "--retries",
    type=click.Choice([mode.value for mode in RetryMode]),
    help="`schedule`: again and again over three days; `once`: one attempt for each event.",
)


@click.command("set")
@brand_option
@click.option("--url", required=True)
@_retries_option
@click.option("--endpoint", "endpoint_id", type=int, metavar="ID", help="Which, where the brand has several.")
@json_option
@command
async def set_(brand: str, url: str, retries: str | None, endpoint_id: int | None, *, as_json: bool) -> None:
    """Set a brand's one URL and print the new secret, this once."""
    keys, guard = key_ring(), _guard()
    async with database() as connection:
        owner = await find_brand(connection, brand)
        endpoint, secret = await set_endpoint(
            connection,
            keys,
            owner.id,
            owner.account_id,
            url,
            guard=guard,
            retries=RetryMode(retries) if retries else None,
            endpoint_id=None if endpoint_id is None else EndpointId(endpoint_id),
        )
    show_one({"id": endpoint.id, "url": endpoint.url, "secret": secret}, as_json=as_json)


def _owner_options(function: Callable[..., None]) -> Callable[..., None]:
    """`--brand` or `--account`."""
    of_brand = click.option("--brand", metavar="SLUG", help="The brand.")
    of_account = click.option("--account", metavar="SLUG", help="The account, with all its brands.")
    return of_brand(of_account(function))


@click.command()
@_owner_options
@click.option("--url", required=True)
@_event_option
@click.option(
    "--profile",
    type=click.Choice([profile.value for profile in Profile]),
    default=Profile.MAILEMENT.value,
    show_default=True,
    help="Whose headers and payload it gets.",
)
@_retries_option
@click.option("--ordered", is_flag=True, help="Events of one subscriber wait for one another.")
@click.option("--rate", type=float, metavar="N", help="At most so many deliveries a second.")
@click.option("--max-in-flight", type=int, metavar="N", help="At most so many deliveries at a time.")
@_description_option
@json_option
@command
async def create(
    brand: str | None,
    account: str | None,
    url: str,
    event_types: tuple[str, ...],
    profile: str,
    retries: str | None,
    rate: float | None,
    max_in_flight: int | None,
    description: str | None,
    *,
    ordered: bool,
    as_json: bool,
) -> None:
    """Create a webhook, one of any number, and print its secret, this once."""
    if (brand is None) == (account is None):
        raise click.UsageError("say whose it is: --brand or --account, one of the two")
    keys, guard = key_ring(), _guard()
    async with database() as connection:
        new = NewEndpoint(
            url=url,
            brand_id=(await find_brand(connection, brand)).id if brand else None,
            account_id=(await find_account(connection, account)).id if account else None,
            profile=Profile(profile),
            event_types=event_types or None,
            description=description,
            retries=RetryMode(retries) if retries else RetryMode.SCHEDULE,
            ordered=ordered,
            max_in_flight=max_in_flight,
            rate_per_second=rate,
        )
        endpoint, secret = await create_endpoint(connection, keys, new, guard=guard)
    show_one({**plain(endpoint), "secret": secret}, as_json=as_json)


@click.command("list")
@_owner_options
@json_option
@command
async def list_(brand: str | None, account: str | None, *, as_json: bool) -> None:
    """List webhooks: all, a brand's own, or an account's."""
    async with database() as connection:
        found = await list_endpoints(
            connection,
            brand_id=(await find_brand(connection, brand)).id if brand else None,
            account_id=(await find_account(connection, account)).id if account else None,
        )
        rows = await _with_slugs(connection, found)
    show_many(rows, as_json=as_json, columns=_COLUMNS)


@click.command()
@endpoint_argument
@json_option
@command
async def show(which: Which, *, as_json: bool) -> None:
    """Show a webhook: its settings, how it fares, where its secrets stand, and the last failure."""
    async with database() as connection:
        report = await show_endpoint(connection, await which.find(connection))
    if as_json:
        click.echo(to_json(report))
        return
    _show_report(report)


@click.command()
@endpoint_argument
@click.option("--url")
@_event_option
@_retries_option
@click.option("--ordered/--unordered", default=None, help="Whether events of one subscriber wait.")
@click.option(
    "--rate",
    type=_Limit(click.FLOAT),
    default=Kept.KEPT,
    metavar="N|none",
    help="At most so many deliveries a second.",
)
@click.option(
    "--max-in-flight",
    type=_Limit(click.INT),
    default=Kept.KEPT,
    metavar="N|none",
    help="At most so many deliveries at a time.",
)
@_description_option
@json_option
@command
async def update(
    which: Which,
    url: str | None,
    event_types: tuple[str, ...],
    retries: str | None,
    rate: float | Kept | None,
    max_in_flight: int | Kept | None,
    description: str | None,
    *,
    ordered: bool | None,
    as_json: bool,
) -> None:
    """Change what is given of a webhook; what waits goes to a new URL."""
    changes = EndpointChanges(
        url=_kept(url),
        event_types=event_types or Kept.KEPT,
        description=_kept(description),
        retries=RetryMode(retries) if retries else Kept.KEPT,
        ordered=_kept(ordered),
        max_in_flight=max_in_flight,
        rate_per_second=rate,
    )
    if changes == EndpointChanges():
        raise Fault("say what to change: --url, --event, --retries, --ordered, --rate, …")
    guard = _guard()
    async with database() as connection:
        changed = await update_endpoint(connection, await which.find(connection), changes, guard=guard)
    show_one(changed, as_json=as_json)


@click.command()
@endpoint_argument
@json_option
@command
async def pause(which: Which, *, as_json: bool) -> None:
    """Pause a webhook: what comes for it is held, for MAILEMENT_WEBHOOK_HOLD_DAYS at most."""
    async with database() as connection:
        show_one(await pause_endpoint(connection, await which.find(connection)), as_json=as_json)


@click.command()
@endpoint_argument
@click.option(
    "--drain",
    type=click.Choice([drain.value.replace("_", "-") for drain in Drain]),
    default=Drain.OLDEST_FIRST.value.replace("_", "-"),
    show_default=True,
    help="What becomes of that which was held.",
)
@json_option
@command
async def enable(which: Which, drain: str, *, as_json: bool) -> None:
    """Enable a webhook that is paused, disabled or resting."""
    async with database() as connection:
        enabled = await enable_endpoint(
            connection, await which.find(connection), drain=Drain(drain.replace("-", "_"))
        )
    show_one(enabled, as_json=as_json)


@click.command()
@endpoint_argument
@json_option
@command
async def delete(which: Which, *, as_json: bool) -> None:
    """Delete a webhook; what waits for it is discarded."""
    async with database() as connection:
        endpoint_id = await which.find(connection)
        await delete_endpoint(connection, endpoint_id)
    of_brand = {"brand": which.brand} if which.brand else {}
    show_one({"id": endpoint_id, **of_brand, "deleted": True}, as_json=as_json)


def _show_report(report: EndpointReport) -> None:
    show_one(report.endpoint, as_json=False)
    click.echo("\nhow it fares")
    show_one(_fortune(report), as_json=False)
    click.echo("\nsecrets")
    show_one(report.secrets, as_json=False)
    if (failure := report.last_failure) is not None:
        click.echo("\nlast failure")
        show_one(failure, as_json=False)
        say(plain_words(failure.reason, failure.status_code))


def _fortune(report: EndpointReport) -> dict[str, object]:
    health = report.health
    return {
        "waiting": report.waiting,
        "under_way": report.under_way,
        "delivered": report.delivered,
        "failed": report.failed,
        "discarded": report.discarded,
        "last_success_at": health.last_success_at,
        "failures_in_a_row": health.consecutive_failures,
        "failing_since": health.first_failure_at,
        "disabled_from": disabled_at(health) if report.endpoint.state is EndpointState.ENABLED else None,
        "resting_until": report.resting_until,
        "resting_because": report.resting_because,
    }


async def _with_slugs(connection: Connection, endpoints: Sequence[Endpoint]) -> list[dict[str, Any]]:
    brands = {brand.id: brand.slug for brand in await list_brands(connection)}
    accounts = {account.id: account.slug for account in await list_accounts(connection)}
    return [
        {
            **plain(endpoint),
            "brand": brands.get(endpoint.brand_id) if endpoint.brand_id is not None else None,
            "account": accounts.get(endpoint.account_id),
        }
        for endpoint in endpoints
    ]


def _kept(value: Value | None) -> Value | Kept:
    return Kept.KEPT if value is None else value


def _guard() -> Guard:
    return Guard(allow=load(WebhookTargetSettings).webhook_allow_cidrs)
