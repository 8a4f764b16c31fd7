"""`mailement migrate`: the schema and the bus, before any service runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import click

from mailement_cli.output import to_json
from mailement_cli.session import command, json_option
from mailement_common.bus import topology
from mailement_common.db.migrate import Migration, read_migrations
from mailement_common.db.migrate import migrate as apply
from mailement_common.db.pool import connect
from mailement_common.outbox.event_log import make_partitions
from mailement_common.settings import BrokerSettings, DatabaseSettings, load
from mailement_common.supervise import pauses
from mailement_newsletter.schema import MIGRATIONS

Result = TypeVar("Result")


@click.command()
@click.option(
    "--wait", default=60.0, show_default=True, help="Seconds to wait for servers that are starting."
)
@json_option
@command
async def migrate(wait: float, *, as_json: bool) -> None:
    """Bring the database's schema up to date and declare the bus. Harmless to repeat, safe from many places at once."""
    database, broker = load(DatabaseSettings), load(BrokerSettings)
    applied = await _patiently(lambda: migrate_database(database), wait)
    await _patiently(lambda: topology.declare(broker), wait)
    names = [migration.name for migration in applied]
    if as_json:
        click.echo(to_json({"applied": names, "bus": broker.bus_namespace}))
        return
    for name in names:
        click.echo(f"applied {name}")
    click.echo(f"schema up to date, bus {broker.bus_namespace!r} declared")


async def migrate_database(settings: DatabaseSettings) -> list[Migration]:
    """What was applied."""
    connection = await connect(settings, name="migrate")
    try:
        applied = await apply(connection, read_migrations(MIGRATIONS))
        await make_partitions(connection)
        return applied
    finally:
        await connection.close()


async def _patiently(deed: Callable[[], Awaitable[Result]], seconds: float) -> Result:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    waits = pauses()
    while True:
        try:
            return await deed()
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
            pause = next(waits)
            if loop.time() + pause > deadline:
                raise
            await asyncio.sleep(pause)
