"""`mailement torture-receiver`: try what becomes of webhooks when a receiver misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from mailement_cli.session import Fault, faults_as_lines
from mailement_cli.torture.certificate import self_signed
from mailement_cli.torture.modes import Mode, behaviour_at, modes
from mailement_cli.torture.received import Received
from mailement_cli.torture.server import TortureServer
from mailement_cli.torture.verdict import verdict
from mailement_common.clock import Clock, SystemClock
from mailement_common.signing import standard_key

_EVENT_HEADERS: Final = ("x-mailement-event", "x-maily-event")
_DELIVERY_HEADERS: Final = ("webhook-id", "x-maily-delivery-id")


@click.command("torture-receiver")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8099, show_default=True, help="0: any free one."
)
@click.option("--tls", "with_tls", is_flag=True, help="HTTPS with a certificate that nobody vouches for.")
@click.option("--secret", help="Say for each request whether its signatures fit this secret.")
@click.option("--list", "list_only", is_flag=True, help="List the ways to misbehave.")
def torture_receiver(host: str, port: int, secret: str | None, *, with_tls: bool, list_only: bool) -> None:
    """Receive webhooks, and behave as badly as the URL's path says. One line for each request."""
    clock = SystemClock()
    known = modes(clock)
    if list_only:
        _list(known)
        return
    if secret is not None:
        _check(secret)
    with faults_as_lines(), tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        tls = self_signed(Path(folder)) if with_tls else None
        asyncio.run(_serve(known, clock, host, port, secret, tls))


def _list(known: dict[str, Mode]) -> None:
    width = max(len(path) for path in known)
    for mode in known.values():
        click.echo(f"{mode.path:<{width}}  {mode.sentence}")
    click.echo(f"{'/status/<n>':<{width}}  any status")


def _check(secret: str) -> None:
    try:
        standard_key(secret)
    except ValueError as error:
        raise click.BadParameter("behind whsec_ there is no base64", param_hint="--secret") from error


async def _serve(
    known: dict[str, Mode],
    clock: Clock,
    host: str,
    port: int,
    secret: str | None,
    tls: ssl.SSLContext | None,
) -> None:
    async def tell(request: Received) -> None:
        click.echo(f"{clock.now():%H:%M:%S} {_line(request, secret, at=clock.now())}")

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    receiver = TortureServer(lambda path: behaviour_at(path, known), tell, host=host, port=port, tls=tls)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(receiver)
        except OSError as error:
            raise Fault(f"cannot listen on {host}:{port}: {_in_words(error)}") from error
        scheme = "https" if tls else "http"
        click.echo(f"listening on {scheme}://{host}:{receiver.port}, see --list for the paths")
        await stop.wait()


def _in_words(error: OSError) -> str:
    return str(error) if error.errno is None else os.strerror(error.errno).lower()


def _line(request: Received, secret: str | None, *, at: datetime) -> str:
    facts = {
        "event": _first(request, _EVENT_HEADERS),
        "delivery": _first(request, _DELIVERY_HEADERS),
        "bytes": str(len(request.body)),
        "signature": None if secret is None else verdict(request, secret, at=at).value,
    }
    told = " ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
    line = f"{request.method} {request.path} {told}"
    return "".join(character if character.isprintable() else "?" for character in line)


def _first(request: Received, names: tuple[str, ...]) -> str | None:
    return next((value for name in names for value in request.values(name)), None)
