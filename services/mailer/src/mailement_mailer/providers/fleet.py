"""One provider for each mail account that is in use, with its own connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, assert_never

from pydantic import SecretStr

from mailement_common.clock import Clock
from mailement_common.supervise import wait_for
from mailement_mailer.providers.choose import provider_for
from mailement_mailer.providers.port import Provider
from mailement_mailer.providers.smtp import Signer, unsigned
from mailement_mailer.settings import MailerSettings, MailProvider, SmtpTls
from mailement_newsletter.rules.mail_accounts import AccountProvider
from mailement_newsletter.rules.senders import MailAccountId

# Longer than any mail takes that was chosen a way for: whoever asked has done with it.
_UNUSED: Final = timedelta(minutes=5)
_SWEEP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInUse:
    """A mail account, its secret opened. `version` counts its changes."""

    id: MailAccountId
    version: int
    provider: AccountProvider
    settings: Mapping[str, Any]
    secret: str | None = field(repr=False)


@dataclass(slots=True, kw_only=True)
class _Berth:
    provider: Provider
    asked_at: datetime


class Fleet:
    """Builds a provider when it is first asked for. `default` is the account of the settings; it is closed along.

    An account that was changed gets a new provider under its new version. The old one, and that of an account that was
    retired or fell silent, is closed when nobody has asked for it for five minutes.
    """

    def __init__(
        self, settings: MailerSettings, default: Provider, clock: Clock, *, signer: Signer = unsigned
    ) -> None:
        self._settings = settings
        self._signer = signer
        self._default = default
        self._clock = clock
        self._berths: dict[tuple[MailAccountId, int], _Berth] = {}

    def provider(self, account: AccountInUse | None) -> Provider:
        """To be asked for each mail anew, and not to be kept beyond it. Opens no connection yet."""
        if account is None:
            return self._default
        now = self._clock.now()
        berth = self._berths.get((account.id, account.version))
        if berth is None:
            berth = _Berth(
                provider=provider_for(_settings_of(account, self._settings), self._signer), asked_at=now
            )
            self._berths[account.id, account.version] = berth
        berth.asked_at = now
        return berth.provider

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until `stop`."""
        while not stop.is_set():
            await self.sweep()
            await wait_for(stop, _SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Closes what nobody asked for lately."""
        before = self._clock.now() - _UNUSED
        unused = [key for key, berth in self._berths.items() if berth.asked_at < before]
        await _close_all([self._berths.pop(key).provider for key in unused])

    async def close(self) -> None:
        """Closes everything, the default too."""
        berths, self._berths = self._berths, {}
        await _close_all([*(berth.provider for berth in berths.values()), self._default])


async def _close_all(providers: list[Provider]) -> None:
    await asyncio.gather(*(provider.close() for provider in providers))


def _settings_of(account: AccountInUse, settings: MailerSettings) -> MailerSettings:
    """The mailer's settings with what the account says in the place of what the environment says."""
    told = account.settings
    secret = None if account.secret is None else SecretStr(account.secret)
    changes: dict[str, Any]
    match account.provider:
        case AccountProvider.SMTP:
            changes = {
                "mail_provider": MailProvider.SMTP,
                "smtp_host": told["host"],
                "smtp_port": told.get("port"),
                "smtp_tls": SmtpTls(told.get("tls", SmtpTls.STARTTLS)),
                "smtp_user": told.get("user", ""),
                "smtp_password": secret,
            }
        case AccountProvider.RESEND:
            changes = {
                "mail_provider": MailProvider.RESEND,
                "resend_url": told.get("url", MailerSettings.model_fields["resend_url"].default),
                "resend_api_key": secret,
            }
        case AccountProvider.FILE:
            changes = {"mail_provider": MailProvider.FILE, "mail_folder": Path(told["folder"])}
        case _:
            assert_never(account.provider)
    return settings.model_copy(update=changes)
