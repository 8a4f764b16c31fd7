"""The provider that the settings ask for."""

from __future__ import annotations

from typing import assert_never

from mailement_mailer.providers.file import FileProvider
from mailement_mailer.providers.port import Provider
from mailement_mailer.providers.resend import ResendProvider
from mailement_mailer.providers.smtp import Signer, SmtpProvider, unsigned
from mailement_mailer.settings import MailerSettings, MailProvider


def provider_for(settings: MailerSettings, signer: Signer = unsigned) -> Provider:
    """Opens no connection yet. `signer` finds keys for what leaves by SMTP."""
    match settings.mail_provider:
        case MailProvider.FILE:
            return FileProvider(settings.mail_folder)
        case MailProvider.SMTP:
            password = settings.smtp_password
            return SmtpProvider(
                host=settings.smtp_host,
                port=settings.effective_smtp_port,
                tls=settings.smtp_tls,
                user=settings.smtp_user or None,
                password=None if password is None else password.get_secret_value(),
                signer=signer,
            )
        case MailProvider.RESEND:
            key = settings.resend_api_key
            assert key is not None
            return ResendProvider(
                url=settings.resend_url,
                api_key=key.get_secret_value(),
                connections=settings.mailer_concurrency,
            )
        case _:
            assert_never(settings.mail_provider)
