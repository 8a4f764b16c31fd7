"""`mailement dev`: everything on this machine, with a demo brand, until Ctrl-C. What `make run` starts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import click
import orjson
import uvloop

from mailement_cli.commands.migrate import migrate_database
from mailement_cli.demo.brand import make_demo_brand
from mailement_cli.demo.receiver import Received, Receiver
from mailement_cli.local.stack import local_stack, usual_or_free_port
from mailement_cli.services import ServiceName, load_settings, make_services
from mailement_cli.session import faults_as_lines
from mailement_common import logs
from mailement_common.bus import topology
from mailement_common.db.pool import Connection, connect
from mailement_common.health import Health
from mailement_common.ids import BrandId
from mailement_common.logs import logger
from mailement_common.sealing import KeyRing
from mailement_common.service import run_until_told
from mailement_common.settings import LogFormat, SecretSettings, ServiceSettings, load
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.catalog.keys import create_key
from mailement_newsletter.errors import NotFound
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.settings import WebhookTargetSettings
from mailement_webhooks.usecases.list_endpoints import list_endpoints
from mailement_webhooks.usecases.set_endpoint import set_endpoint

_BRAND: Final = "demo"

log = logger(__name__)


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".local"),
    show_default=True,
    help="Where servers, mails and webhooks are kept.",
)
def dev(folder: Path) -> None:
    """Run everything on this machine until Ctrl-C."""
    mail, webhooks = folder / "mail", folder / "webhooks"
    for place in (mail, webhooks):
        place.mkdir(parents=True, exist_ok=True)

    def settings() -> dict[str, str]:
        port = usual_or_free_port(8080)
        return {
            "MAILEMENT_HTTP_PORT": str(port),
            "MAILEMENT_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "MAILEMENT_MAIL_PROVIDER": "file",
            "MAILEMENT_MAIL_FOLDER": str(mail),
            "MAILEMENT_LOG_FORMAT": LogFormat.CONSOLE,
        }

    try:
        with (
            faults_as_lines(),
            local_stack(folder.absolute() / "run", settings),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(_dev(folder))
    except KeyboardInterrupt:
        click.echo("stopped")


async def _dev(folder: Path) -> None:
    settings = load_settings(list(ServiceName))
    chosen = settings[ServiceName.API]
    logs.configure(service="dev", level=chosen.log_level, form=chosen.log_format)
    await migrate_database(chosen)
    await topology.declare(chosen)
    written = len(list((folder / "webhooks").glob("*.json")))

    def keep(received: Received) -> None:
        nonlocal written
        written += 1
        name = f"{written:04}-{received.event or 'unknown'}.json"
        (folder / "webhooks" / name).write_bytes(orjson.dumps(received.body, option=orjson.OPT_INDENT_2))
        log.info("demo.webhook_received", type=received.event, signature_valid=received.genuine, file=name)

    receiver = Receiver(host="127.0.0.1", port=0, on_received=keep)
    serving = await receiver.start()
    connection = await connect(chosen, name="dev")
    try:
        key, secret = await _demo_brand(connection, f"http://127.0.0.1:{receiver.port}/webhook")
    finally:
        await connection.close()
    receiver.expect_secret(secret)
    health = Health()
    telling = asyncio.create_task(_tell_when_ready(health, folder, key, settings[ServiceName.API]))
    try:
        await run_until_told(make_services(settings, health), chosen, health)
    finally:
        telling.cancel()
        receiver.stop()
        await serving


async def _demo_brand(connection: Connection, webhook_url: str) -> tuple[str, str]:
    """A fresh key and webhook secret for the demo brand, which is made if it is not there."""
    ring = KeyRing(load(SecretSettings).secret_keys.get_secret_value())
    guard = Guard(allow=load(WebhookTargetSettings).webhook_allow_cidrs)
    try:
        brand = await find_brand(connection, _BRAND)
    except NotFound:
        made = await make_demo_brand(connection, ring, guard, slug=_BRAND, webhook_url=webhook_url)
        return made.key, made.secret
    key = await create_key(connection, brand, name="demo")
    _, secret = await set_endpoint(
        connection,
        ring,
        brand.id,
        brand.account_id,
        webhook_url,
        guard=guard,
        endpoint_id=await _first_endpoint(connection, brand.id),
    )
    return key.key, secret


async def _first_endpoint(connection: Connection, brand_id: BrandId) -> EndpointId | None:
    """The demo's own; people may have made others."""
    endpoints = await list_endpoints(connection, brand_id=brand_id)
    return next((one.id for one in endpoints if one.profile is Profile.MAILEMENT), None)


async def _tell_when_ready(health: Health, folder: Path, key: str, settings: ServiceSettings) -> None:
    while not (await health.readiness())[0]:
        await asyncio.sleep(0.1)
    url = getattr(settings, "public_url")  # noqa: B009
    click.echo(_welcome(url, key, folder))


def _welcome(url: Any, key: str, folder: Path) -> str:  # noqa: ANN401
    return f"""
Mailement runs at {url}   (API: {url}/docs)   Ctrl-C stops everything.

Sign somebody up, from another terminal:

  curl -sS {url}/api/v1/subscribe \\
    -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"email": "reader@example.com", "first_name": "Maria"}}'

The welcome mail goes to   {folder / "mail"}/        one .eml file each
The webhook goes to        {folder / "webhooks"}/    received by this process, signature checked
Look around with           ./mailement subscriber show --brand {_BRAND} --email reader@example.com
                           ./mailement webhook deliveries --brand {_BRAND}
"""
