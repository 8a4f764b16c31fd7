"""`mailement run`: a service, or all of them in one process."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import click
import uvloop

from mailement_cli.services import ServiceName, load_settings, make_services
from mailement_cli.session import faults_as_lines
from mailement_common import logs
from mailement_common.health import Health
from mailement_common.service import ServiceEnded, run_until_told
from mailement_common.settings import ServiceSettings

_ALL: Final = "all"


@click.command()
@click.argument("service", type=click.Choice([*(name.value for name in ServiceName), _ALL]))
def run(service: str) -> None:
    """Run a service until SIGTERM or Ctrl-C; `all` runs every one in this process."""
    with faults_as_lines():
        names = list(ServiceName) if service == _ALL else [ServiceName(service)]
        settings = load_settings(names)
        first = next(iter(settings.values()))
        logs.configure(service=service, level=first.log_level, form=first.log_format)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_run(settings, first))
        except ServiceEnded as ended:
            click.echo(f"mailement: {ended} ended by itself", err=True)
            sys.exit(1)


async def _run(settings: dict[ServiceName, ServiceSettings], first: ServiceSettings) -> None:
    health = Health()
    # Side by side they end when the last of them has ended.
    longest = max(each.drain_seconds for each in settings.values())
    together = first.model_copy(update={"drain_seconds": longest})
    await run_until_told(make_services(settings, health), together, health)
