"""The mailer as a service: its pool, its consumer, its mailroom, and what it reports of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from mailement_common.bus.consumer import Consumer
from mailement_common.bus.topology import MAILER
from mailement_common.db.checks import database_checks
from mailement_common.db.clock import DatabaseClock
from mailement_common.db.pool import PLANNED_EACH_TIME, close_pool, new_pool
from mailement_common.health import Check, CheckResult
from mailement_common.logs import logger
from mailement_common.sealing import BadKeyRing, KeyRing
from mailement_common.settings import ConfigurationFaults
from mailement_common.supervise import keep_running
from mailement_mailer.compose import Composer
from mailement_mailer.handlers import handler_for
from mailement_mailer.mailbox import parse_mailbox
from mailement_mailer.mailroom import Mailroom
from mailement_mailer.providers.choose import provider_for
from mailement_mailer.providers.fleet import Fleet
from mailement_mailer.routes import RouteBook
from mailement_mailer.settings import MailerSettings, MailProvider
from mailement_mailer.signing import Signing
from mailement_newsletter.schema import MIGRATIONS
from mailement_newsletter.usecases.keep_mail_history import keep_mail_history

# Starts and records go in batches, one at a time; beside them there are claims, sweeps, renewals and the clock. What
# asks for more waits a moment for its connection.
_CONNECTIONS: Final = 6

log = logger(__name__)


class Mailer:
    """Renders the ledger's messages and hands them to a provider."""

    name: Final = "mailer"

    def __init__(self, settings: MailerSettings) -> None:
        """Opens nothing yet. Raises ConfigurationFaults."""
        try:
            keys = KeyRing(settings.secret_keys.get_secret_value())
        except BadKeyRing as fault:
            raise ConfigurationFaults([f"MAILEMENT_SECRET_KEYS: {fault}"]) from fault
        house = parse_mailbox(settings.mail_from)
        self._pool = new_pool(settings, name=self.name, size=_CONNECTIONS, server_settings=PLANNED_EACH_TIME)
        self._clock = DatabaseClock()
        signing = Signing()
        self._provider = provider_for(settings, signing)
        self._fleet = Fleet(settings, self._provider, self._clock, signer=signing)
        self._book = RouteBook(self._pool, keys, self._clock, house=house)
        self._mailroom = Mailroom(
            self._pool,
            book=self._book,
            fleet=self._fleet,
            signing=signing,
            composer=Composer(sender=house, public_url=settings.public_url, keys=keys),
            clock=self._clock,
            concurrency=settings.mailer_concurrency,
        )
        self._history_days = settings.mail_history_days
        self._lacks_one_click = settings.mail_provider is not MailProvider.FILE and not settings.has_https
        self._consumer = Consumer(settings, MAILER, handler_for(self._mailroom), name=self.name)

    def checks(self) -> Mapping[str, Check]:
        """`provider` reports the last refusal that concerned every mail; the mailer stays ready and keeps trying."""
        return {
            **database_checks(self._pool, MIGRATIONS),
            "broker": Check(run=self._ask_broker, required=False),
            "provider": Check(run=self._ask_provider, required=False),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers mail until `stop`, then finishes what is on the wire and puts the rest back."""
        if self._lacks_one_click:
            log.warning("mailer.no_one_click", reason="MAILEMENT_PUBLIC_URL is not https://")
        await self._pool
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    keep_running("clock", lambda: self._clock.keep_in_sync(self._pool, stop), stop)
                )
                group.create_task(keep_running("mail accounts", lambda: self._fleet.run(stop), stop))
                group.create_task(keep_running("mail history", lambda: self._keep(stop), stop))
                group.create_task(self._mailroom.run(stop))
                group.create_task(self._consumer.run(stop))
        finally:
            await self._book.close()
            await self._fleet.close()
            await close_pool(self._pool)

    async def _keep(self, stop: asyncio.Event) -> None:
        await keep_mail_history(self._pool, stop, days=self._history_days)

    async def _ask_broker(self) -> CheckResult:
        return CheckResult(ok=self._consumer.connected)

    async def _ask_provider(self) -> CheckResult:
        trouble = self._mailroom.trouble
        return CheckResult(ok=trouble is None, detail=trouble or self._provider.name)
