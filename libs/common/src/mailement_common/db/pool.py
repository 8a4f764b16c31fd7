"""The connection pool, set up once for the whole suite."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import asyncpg
import orjson
from asyncpg.connect_utils import SessionAttribute
from asyncpg.pool import PoolConnectionProxy
from typing_extensions import override

from mailement_common.settings import DatabaseSettings

# A connection of one's own, or one that is borrowed from a pool: to a query it is the same.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

# What is never the fault of the work at hand: the server is away, restarting, full, a standby, not migrated yet,
# or somebody else was in the way. The same work is worth trying again. A statement that runs into its timeout is not
# among them: tried for ever, one such event would hold up all behind it.
DATABASE_UNABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # A statement that meets the server's farewell on an idle connection ends so.
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.CrashShutdownError,
    asyncpg.DeadlockDetectedError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.SerializationError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
)

# No query of ours may run longer, and none may hold a transaction open without working:
# either would keep dead rows visible and slow every claim down.
_STATEMENT_TIMEOUT_MS: Final = 30_000
_IDLE_IN_TRANSACTION_MS: Final = 30_000
_CLOSE_SECONDS: Final = 5


class PooledConnection(asyncpg.Connection):
    @override
    def get_reset_query(self) -> str:
        """Nothing to reset: no session state is ever set, and the round trip would cost as much as a query."""
        return ""


# Settings of PostgreSQL for a session, beside those that all of ours have.
ServerSettings: TypeAlias = Mapping[str, str]

# For sessions whose statements work on batches: a plan for any size of batch, made when the tables were empty and kept, can
# cost a hundred times what planning anew does (some milliseconds for the largest statement).
PLANNED_EACH_TIME: Final[ServerSettings] = MappingProxyType({"plan_cache_mode": "force_custom_plan"})


async def open_pool(settings: DatabaseSettings, *, name: str, size: int | None = None) -> asyncpg.Pool:
    """A pool that is ready for use."""
    return await new_pool(settings, name=name, size=size)


def new_pool(
    settings: DatabaseSettings,
    *,
    name: str,
    size: int | None = None,
    server_settings: ServerSettings = MappingProxyType({}),
) -> asyncpg.Pool:
    """A pool that is to be awaited once before it is used; it opens connections on demand.

    `name` shows in pg_stat_activity.
    """
    return asyncpg.create_pool(
        settings.database_dsn,
        min_size=0,
        max_size=size or settings.database_pool_size,
        connection_class=PooledConnection,
        init=_set_codecs,
        timeout=5,
        command_timeout=_STATEMENT_TIMEOUT_MS / 1000 + 5,
        max_inactive_connection_lifetime=300,
        # Of several hosts in the URL, never a standby.
        target_session_attrs=SessionAttribute.read_write,
        server_settings={
            "application_name": f"mailement-{name}",
            "statement_timeout": str(_STATEMENT_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_MS),
            "timezone": "UTC",
            "jit": "off",
            **server_settings,
        },
    )


async def close_pool(pool: asyncpg.Pool) -> None:
    """Waits for queries at hand, but not for ever: a lost server would keep the process alive."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def connect(
    settings: DatabaseSettings, *, name: str, server_settings: ServerSettings = MappingProxyType({})
) -> asyncpg.Connection:
    """One connection outside any pool, with the suite's codecs."""
    connection = await asyncpg.connect(
        settings.database_dsn,
        timeout=10,
        target_session_attrs=SessionAttribute.read_write,
        server_settings={"application_name": f"mailement-{name}", "timezone": "UTC", **server_settings},
    )
    await _set_codecs(connection)
    return connection


async def _set_codecs(connection: Any) -> None:  # noqa: ANN401  the stubs disagree on the connection's type
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode, decoder=orjson.loads, format="text"
    )


def _encode(value: Any) -> str:  # noqa: ANN401  any JSON value
    return orjson.dumps(value).decode()
