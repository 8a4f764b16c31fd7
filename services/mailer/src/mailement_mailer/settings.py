"""The mailer's settings."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, SecretStr, StringConstraints, ValidationInfo, field_validator

from mailement_common.settings import Port, SecretSettings, ServiceSettings
from mailement_mailer.mailbox import parse_mailbox


class MailProvider(StrEnum):
    SMTP = "smtp"
    RESEND = "resend"
    FILE = "file"


class SmtpTls(StrEnum):
    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"
    OPPORTUNISTIC = "opportunistic"


_USUAL_PORT: Final = {SmtpTls.NONE: 25, SmtpTls.OPPORTUNISTIC: 25, SmtpTls.STARTTLS: 587, SmtpTls.TLS: 465}
_PUBLIC_URL: Final = re.compile(r"https?://[^/\s]+(/\S*[^/\s])?")
_DEVELOPMENT_URL: Final = "http://127.0.0.1:8080"
_DEVELOPMENT_SENDER: Final = "Mailement <newsletter@mailement.localhost>"


class MailerSettings(ServiceSettings, SecretSettings):
    """A setting that the chosen provider needs and does not have is a fault of that setting's name."""

    # What is on the wire when SIGTERM comes has an answer by then, from SMTP after 85 s at the latest. Cut off, it would
    # be uncertain whether the mail has arrived.
    drain_seconds: float = Field(
        default=90, ge=1, le=600, description="Longest time between SIGTERM and the end, in seconds."
    )
    mail_provider: MailProvider = Field(
        default=MailProvider.FILE, description="Who carries the mail: `smtp`, `resend` or `file`."
    )
    public_url: str = Field(
        default="",
        validate_default=True,
        description="Where subscribers reach the api, for links in mails; only `file` has a default.",
    )
    mail_folder: Path = Field(default=Path("mail"), description="Where `file` puts `.eml` files.")
    mail_from: str = Field(
        default="",
        validate_default=True,
        description="`Name <address>` for brands without a sender of their own; only `file` has a default.",
    )
    smtp_host: str = Field(default="", validate_default=True, description="The relay's name or address.")
    smtp_port: Port | None = Field(
        default=None, description="Its port; 25 without TLS, 587 with `starttls`, 465 with `tls`."
    )
    smtp_tls: SmtpTls = Field(
        default=SmtpTls.STARTTLS,
        description="`tls` from the first byte; `starttls` or nothing; `opportunistic`: if offered, unverified; `none`.",
    )
    smtp_user: str = Field(default="", description="Name to log in with; empty: no login.")
    smtp_password: SecretStr | None = Field(
        default=None, validate_default=True, description="Password to log in with."
    )
    resend_api_key: SecretStr | None = Field(
        default=None, validate_default=True, description="Resend's API key, `re_…`."
    )
    resend_url: Annotated[str, StringConstraints(pattern=r"^https?://[^/]+")] = Field(
        default="https://api.resend.com", description="Base of Resend's API."
    )
    mailer_concurrency: int = Field(
        default=16,
        ge=1,
        le=500,
        description="Mails handed over at the same time, per process and mail account.",
    )
    mail_history_days: int = Field(
        default=90, ge=1, le=3650, description="Days that every attempt to send a mail is kept."
    )

    @property
    def effective_smtp_port(self) -> int:
        return _USUAL_PORT[self.smtp_tls] if self.smtp_port is None else self.smtp_port

    @property
    def has_https(self) -> bool:
        """Whether mails can offer to unsubscribe with one click (RFC 8058)."""
        return self.public_url.startswith("https://")

    @field_validator("public_url")
    @classmethod
    def _links_lead_somewhere(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            _refuse_without(info, MailProvider.SMTP, MailProvider.RESEND)
        elif not _PUBLIC_URL.fullmatch(value):
            raise ValueError("is http:// or https://, a host, and no slash at the end")
        return value or _DEVELOPMENT_URL

    @field_validator("mail_from")
    @classmethod
    def _sender_is_a_mailbox(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            _refuse_without(info, MailProvider.SMTP, MailProvider.RESEND)
        parse_mailbox(value or _DEVELOPMENT_SENDER)
        return value or _DEVELOPMENT_SENDER

    @field_validator("smtp_host")
    @classmethod
    def _relay_is_named(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            _refuse_without(info, MailProvider.SMTP)
        return value

    @field_validator("smtp_password")
    @classmethod
    def _login_is_complete(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (value is None) != (not info.data.get("smtp_user")):
            raise ValueError("MAILEMENT_SMTP_USER and MAILEMENT_SMTP_PASSWORD go together")
        return value

    @field_validator("resend_api_key")
    @classmethod
    def _key_is_there(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            _refuse_without(info, MailProvider.RESEND)
        return value


def _refuse_without(info: ValidationInfo, *needed_by: MailProvider) -> None:
    provider = info.data.get("mail_provider")
    if provider in needed_by:
        raise ValueError(f"is required when MAILEMENT_MAIL_PROVIDER is {provider}")
