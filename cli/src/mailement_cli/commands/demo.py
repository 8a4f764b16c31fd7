"""`mailement demo`: the whole way once, by itself; exit code 0 when everything arrived."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop

from mailement_cli.commands.migrate import migrate_database
from mailement_cli.demo.brand import make_demo_brand
from mailement_cli.demo.mail_sink import MailSink
from mailement_cli.demo.receiver import Receiver
from mailement_cli.demo.walk import Seen, walk
from mailement_cli.local.ports import free_port
from mailement_cli.local.stack import local_stack
from mailement_cli.services import ServiceName, load_settings, make_services
from mailement_cli.session import Fault, faults_as_lines, key_ring
from mailement_common import logs
from mailement_common.bus import topology
from mailement_common.db.pool import connect
from mailement_common.health import Health
from mailement_common.service import run_until
from mailement_common.settings import DatabaseSettings, LogFormat, load
from mailement_newsletter.catalog.brands import delete_brand
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.settings import WebhookTargetSettings
from mailement_webhooks.usecases.delete_endpoint import delete_endpoints_of

_READY_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the demo's own two servers listen, and under which name the services reach them."""

    bind: str
    name: str
    webhook_port: int
    smtp_port: int


@click.command()
@click.option("--api", "api_url", help="Walk against services that run already, at this URL.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="With --api: the name that they reach us by."
)
@click.option("--webhook-port", default=9090, show_default=True, help="With --api: where we take webhooks.")
@click.option("--smtp-port", default=1025, show_default=True, help="With --api: where we take mail.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".local"),
    show_default=True,
    help="Where the private servers are kept.",
)
def demo(api_url: str | None, host: str, webhook_port: int, smtp_port: int, folder: Path) -> None:
    """Sign up, see webhook and welcome mail, unsubscribe, see that webhook; with a timeline."""
    began = time.perf_counter()
    try:
        with faults_as_lines():
            if api_url is not None:
                logs.configure(service="demo", level="warning", form=LogFormat.CONSOLE)
                place = Place(bind="0.0.0.0", name=host, webhook_port=webhook_port, smtp_port=smtp_port)  # noqa: S104
                _run(_walk_against(api_url, place))
            else:
                _all_by_itself(folder.absolute() / "demo")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    click.echo(f"everything arrived; {time.perf_counter() - began:.1f} s in all")


def _all_by_itself(folder: Path) -> None:
    place = Place(bind="127.0.0.1", name="127.0.0.1", webhook_port=free_port(), smtp_port=free_port())
    port = free_port()
    settings = {
        "MAILEMENT_HTTP_PORT": str(port),
        "MAILEMENT_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "MAILEMENT_MAIL_PROVIDER": "smtp",
        "MAILEMENT_MAIL_FROM": "The Demo Letter <letter@example.com>",
        "MAILEMENT_SMTP_HOST": place.name,
        "MAILEMENT_SMTP_PORT": str(place.smtp_port),
        "MAILEMENT_SMTP_TLS": "none",
        "MAILEMENT_LOG_LEVEL": "warning",
        "MAILEMENT_LOG_FORMAT": "console",
    }
    with local_stack(folder, lambda: settings):
        _run(_walk_with_own_services(f"http://127.0.0.1:{port}", place))


def _run(walking: asyncio.Future[None] | object) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(walking)  # type: ignore[arg-type]


async def _walk_with_own_services(api_url: str, place: Place) -> None:
    settings = load_settings(list(ServiceName))
    chosen = settings[ServiceName.API]
    logs.configure(service="demo", level=chosen.log_level, form=chosen.log_format)
    click.echo("migrating, declaring the bus, starting the services …")
    await migrate_database(chosen)
    await topology.declare(chosen)
    health, stop = Health(), asyncio.Event()
    running = asyncio.create_task(run_until(stop, make_services(settings, health), chosen, health))
    try:
        await _until_ready(health, running)
        await _walk_against(api_url, place)
    finally:
        stop.set()
        await running


async def _walk_against(api_url: str, place: Place) -> None:
    seen = Seen()
    async with _listening(place, seen) as receiver, _demo_brand(place, receiver) as key:
        await walk(api_url, key, seen)


@asynccontextmanager
async def _listening(place: Place, seen: Seen) -> AsyncIterator[Receiver]:
    receiver = Receiver(host=place.bind, port=place.webhook_port, on_received=seen.on_webhook)
    sink = MailSink(host=place.bind, port=place.smtp_port, on_mail=seen.on_mail)
    serving = await receiver.start()
    try:
        await sink.start()
        yield receiver
    finally:
        receiver.stop()
        await serving
        await sink.stop()


@asynccontextmanager
async def _demo_brand(place: Place, receiver: Receiver) -> AsyncIterator[str]:
    """A brand for this walk alone, gone afterwards; yields its key."""
    ring = key_ring()
    guard = Guard(allow=load(WebhookTargetSettings).webhook_allow_cidrs)
    connection = await connect(load(DatabaseSettings), name="demo")
    try:
        made = await make_demo_brand(
            connection,
            ring,
            guard,
            slug=f"demo-{secrets.token_hex(4)}",
            webhook_url=f"http://{place.name}:{place.webhook_port}/webhook",
        )
        receiver.expect_secret(made.secret)
        try:
            yield made.key
        finally:
            async with connection.transaction():
                await delete_brand(connection, made.brand)
                await delete_endpoints_of(connection, made.brand.id)
    finally:
        await connection.close()


async def _until_ready(health: Health, running: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not running.done() and not await _ready(health):
                await asyncio.sleep(0.05)
    except TimeoutError:
        _, report = await health.readiness()
        raise Fault(f"the services are not ready after {_READY_SECONDS} s: {report}") from None
    if running.done():
        await running
        raise Fault("the services ended before they were ready")


async def _ready(health: Health) -> bool:
    """Also with the broker connected, so that the timeline shows no start-up."""
    ready, report = await health.readiness()
    return ready and all(
        isinstance(check, dict) and check["ok"] for name, check in report.items() if name != "draining"
    )
