"""`mailement webhook verify`: is this webhook genuine, and if not, why."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import click

from mailement_cli.output import to_json
from mailement_cli.session import Fault, faults_as_lines, json_option
from mailement_cli.verify import lines, read_headers, read_message
from mailement_common.clock import Clock, SystemClock
from mailement_webhooks.rules.verification import Message, Secret, verify

_File = click.Path(exists=True, dir_okay=False, path_type=Path)


class SecretsOf(Protocol):
    async def __call__(self, *, brand: str | None, endpoint: int | None) -> Mapping[str, str]:
        """The secrets of a brand's endpoints, or of one endpoint, each under a label that tells people which it is."""
        ...


def verify_command(secrets_of: SecretsOf, clock: Clock | None = None) -> click.Command:
    """The command, told how to take stored secrets from the database."""
    moment = clock or SystemClock()

    @click.command("verify")
    @click.argument("message", type=click.File("rb"), default="-")
    @click.option("--headers", type=_File, help="The headers, if they are in a file of their own.")
    @click.option("--body", type=_File, help="The body to those headers, byte by byte.")
    @click.option(
        "--secret", "secrets", multiple=True, help="A secret as it was printed; several may be tried."
    )
    @click.option("--brand", metavar="SLUG", help="Try the stored secrets of this brand's endpoints.")
    @click.option("--endpoint", type=int, metavar="ID", help="Try the stored secrets of this endpoint.")
    @click.option(
        "--at", type=click.DateTime(), help="The moment to check for, in UTC; the present if left out."
    )
    @json_option
    def command(
        message: BinaryIO,
        headers: Path | None,
        body: Path | None,
        secrets: Sequence[str],
        brand: str | None,
        endpoint: int | None,
        at: datetime | None,
        *,
        as_json: bool,
    ) -> None:
        """Tell whether a webhook is genuine, and if not, what was probably done wrong.

        MESSAGE is a raw HTTP request: headers, an empty line, the body; `-` or nothing reads it from standard input.
        Without a secret, the terminal is asked for one. Exit code 0: genuine; 1: not.
        """
        with faults_as_lines():
            chosen = _given(secrets)
            if brand is not None or endpoint is not None:
                chosen += asyncio.run(_stored(secrets_of, brand, endpoint))
            if not chosen:
                chosen = [_asked()]
            received = _received(message, headers, body)
            report = verify(received, chosen, at=at.replace(tzinfo=UTC) if at else moment.now())
            click.echo(to_json(asdict(report)) if as_json else "\n".join(lines(report)))
        sys.exit(0 if report.genuine else 1)

    return command


def _given(secrets: Sequence[str]) -> list[Secret]:
    labels = ["secret"] if len(secrets) == 1 else [f"secret {number + 1}" for number in range(len(secrets))]
    # An argument may hold bytes that are no text; a secret of ours does not.
    texts = [secret.encode(errors="replace").decode() for secret in secrets]
    return [Secret(label=label, text=text) for label, text in zip(labels, texts, strict=True)]


async def _stored(secrets_of: SecretsOf, brand: str | None, endpoint: int | None) -> list[Secret]:
    found = await secrets_of(brand=brand, endpoint=endpoint)
    if not found:
        raise Fault("no secret is stored there")
    return [Secret(label=label, text=text) for label, text in found.items()]


def _asked() -> Secret:
    if not sys.stdin.isatty():
        raise Fault("no secret: give --secret, --brand or --endpoint")
    return Secret(label="secret", text=click.prompt("Secret", hide_input=True, err=True))


def _received(message: BinaryIO, headers: Path | None, body: Path | None) -> Message:
    if (headers is None) != (body is None):
        raise click.UsageError("--headers and --body belong together")
    if headers is not None and body is not None:
        return Message(headers=read_headers(headers.read_bytes()), body=body.read_bytes())
    if not message.isatty():
        return read_message(message.read())
    click.echo("Paste the request, then press Ctrl-D on a line of its own.", err=True)
    # The line break that brings Ctrl-D to a line of its own was not sent.
    return read_message(message.read().removesuffix(b"\n"))
