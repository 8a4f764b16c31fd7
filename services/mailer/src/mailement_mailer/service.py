"""The mailer as a service: its pool, its consumer, its mailroom, and what it reports of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import asyncpg

from mailement_common.bus.consumer import Consumer
from mailement_common.bus.topology import MAILER
from mailement_common.clock import Clock, SystemClock
from mailement_common.db.checks import database_checks
from mailement_common.db.pool import open_pool
from mailement_common.health import Check, CheckResult
from mailement_common.logs import logger
from mailement_common.sealing import BadKeyRing, KeyRing
from mailement_common.settings import ConfigurationFaults
from mailement_mailer.compose import Composer
from mailement_mailer.handlers import handler_for
from mailement_mailer.mailbox import parse_mailbox
from mailement_mailer.mailroom import Mailroom
from mailement_mailer.providers.choose import provider_for
from mailement_mailer.providers.port import Provider
from mailement_mailer.settings import MailerSettings
from mailement_newsletter.schema import MIGRATIONS

_CLOSE_SECONDS: Final = 5
# Claims, sweeps, starts and records: no more statements than these run at the same time.
_CONNECTIONS: Final = 5

log = logger(__name__)


class Mailer:
    """Renders the ledger's messages and hands them to a provider."""

    name: Final = "mailer"

    def __init__(
        self, settings: MailerSettings, provider: Provider, composer: Composer, clock: Clock
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._composer = composer
        self._clock = clock
        self._database: Mapping[str, Check] = {}
        self._consumer: Consumer | None = None
        self._mailroom: Mailroom | None = None

    @classmethod
    def from_settings(cls, settings: MailerSettings, clock: Clock | None = None) -> Mailer:
        """Opens nothing yet. Raises ConfigurationFaults."""
        try:
            keys = KeyRing(settings.secret_keys.get_secret_value())
        except BadKeyRing as fault:
            raise ConfigurationFaults([f"MAILEMENT_SECRET_KEYS: {fault}"]) from fault
        composer = Composer(
            sender=parse_mailbox(settings.mail_from), public_url=settings.public_url, keys=keys
        )
        return cls(settings, provider_for(settings), composer, clock or SystemClock())

    def checks(self) -> Mapping[str, Check]:
        """`provider` reports the last refusal that concerned every mail; the mailer stays ready and keeps trying."""
        return {
            "database": Check(run=lambda: self._ask_database("database")),
            "schema": Check(run=lambda: self._ask_database("schema")),
            "broker": Check(run=self._ask_broker, required=False),
            "provider": Check(run=self._ask_provider, required=False),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers mail until `stop`, then finishes what is on the wire and puts the rest back."""
        pool = await open_pool(self._settings, name=self.name, size=_CONNECTIONS)
        try:
            await self._run_with(pool, stop)
        finally:
            await self._provider.close()
            await _close(pool)

    async def _run_with(self, pool: asyncpg.Pool, stop: asyncio.Event) -> None:
        mailroom = Mailroom(
            pool,
            self._provider,
            self._composer,
            self._clock,
            concurrency=self._settings.mailer_concurrency,
        )
        consumer = Consumer(self._settings, MAILER, handler_for(mailroom), name=self.name)
        self._database = database_checks(pool, MIGRATIONS)
        self._mailroom, self._consumer = mailroom, consumer
        async with asyncio.TaskGroup() as group:
            group.create_task(mailroom.run(stop))
            group.create_task(consumer.run(stop))

    async def _ask_database(self, name: str) -> CheckResult:
        if name not in self._database:
            return CheckResult(ok=False, detail="starting")
        return await self._database[name].run()

    async def _ask_broker(self) -> CheckResult:
        return CheckResult(ok=self._consumer is not None and self._consumer.connected)

    async def _ask_provider(self) -> CheckResult:
        trouble = None if self._mailroom is None else self._mailroom.trouble
        return CheckResult(ok=trouble is None, detail=trouble or self._provider.name)


async def _close(pool: asyncpg.Pool) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await pool.close()
    except TimeoutError:
        log.warning("pool.terminated", reason="a connection did not come back in time")
        pool.terminate()
