"""What a command needs from the outside, and how its failures end: one clear line, exit code 1 or 2."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Final, TypeVar

import asyncpg
import click

from mailement_cli.local.errors import LocalServerError
from mailement_common.bus.connection import BrokerRefused
from mailement_common.db.migrate import MigrationRefused
from mailement_common.db.pool import DATABASE_UNABLE, connect, open_pool
from mailement_common.health import CannotListen
from mailement_common.sealing import BadKeyRing, KeyRing
from mailement_common.settings import ConfigurationFaults, DatabaseSettings, SecretSettings, load
from mailement_newsletter.errors import Refusal as NewsletterRefusal
from mailement_newsletter.errors import SubscriberNotFound
from mailement_webhooks.errors import Refusal as WebhookRefusal

Function = TypeVar("Function", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
brand_option = click.option("--brand", required=True, metavar="SLUG", help="The brand.")

_FAILED: Final = 1
_MISCONFIGURED: Final = 2


class Fault(Exception):
    """Something that the operator can put right; the message says what."""


@asynccontextmanager
async def database() -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(load(DatabaseSettings), name="cli")
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def database_pool() -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(load(DatabaseSettings), name="cli", size=2)
    try:
        yield pool
    finally:
        await pool.close()


def key_ring() -> KeyRing:
    """What seals and opens stored secrets. Raises ConfigurationFaults, BadKeyRing."""
    return KeyRing(load(SecretSettings).secret_keys.get_secret_value())


def command(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs an async command; what goes wrong becomes a line, never a traceback."""

    @wraps(function)
    def run(*args: object, **kwargs: object) -> None:
        with faults_as_lines():
            asyncio.run(function(*args, **kwargs))

    return run


class faults_as_lines:  # noqa: N801  reads as a statement
    """Ends the process with a line for each known kind of failure."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        lines, code = _explain(error)
        if not lines:
            return
        for line in lines:
            click.echo(f"mailement: {line}", err=True)
        sys.exit(code)


def _explain(error: BaseException) -> tuple[list[str], int]:  # noqa: C901  a table of cases
    match error:
        case ConfigurationFaults():
            return error.faults, _MISCONFIGURED
        case BadKeyRing():
            return [f"MAILEMENT_SECRET_KEYS: {error}"], _MISCONFIGURED
        case SubscriberNotFound():
            return ["the brand has no such subscriber"], _FAILED
        case NewsletterRefusal() | WebhookRefusal():
            return [str(error) or (error.__doc__ or "").strip()], _FAILED
        case MigrationRefused() | LocalServerError() | CannotListen() | Fault():
            return [str(error)], _FAILED
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedFunctionError():
            return ["the database has no tables of ours: run `mailement migrate`"], _FAILED
        case asyncpg.DataError():
            return [f"the database cannot take this: {str(error).partition(': ')[2] or error}"], _FAILED
        case asyncpg.PostgresError() if not isinstance(error, asyncpg.PostgresConnectionError):
            # The message alone: its detail can quote a row.
            return [f"the database refuses: {error.args[0]}"], _FAILED
        case BrokerRefused():
            return [f"the broker refuses: {error}"], _FAILED
        case BrokenPipeError():
            return [], _FAILED
        case ExceptionGroup() if len(error.exceptions) == 1:
            return _explain(error.exceptions[0])
        case _ if isinstance(error, DATABASE_UNABLE):
            return [f"cannot connect: {type(error).__name__}: {error}"], _FAILED
        case _:
            return [], _FAILED
