"""Mail accounts: what each kind of provider has to be told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from mailement_newsletter.errors import InvalidSetting
from mailement_newsletter.rules.senders import MailAccountId


class AccountProvider(StrEnum):
    SMTP = "smtp"
    RESEND = "resend"
    FILE = "file"


_TLS: Final = ("none", "starttls", "tls", "opportunistic")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]{2,45}\]?")
_URL: Final = re.compile(r"https?://[^/\s@]+(/\S*)?")
_MAX_TEXT: Final = 1000
_MAX_PORT: Final = 65_535

_ALLOWED: Final[Mapping[AccountProvider, frozenset[str]]] = {
    AccountProvider.SMTP: frozenset({"host", "port", "tls", "user"}),
    AccountProvider.RESEND: frozenset({"url"}),
    AccountProvider.FILE: frozenset({"folder"}),
}
_REQUIRED: Final[Mapping[AccountProvider, frozenset[str]]] = {
    AccountProvider.SMTP: frozenset({"host"}),
    AccountProvider.RESEND: frozenset(),
    AccountProvider.FILE: frozenset({"folder"}),
}
_SECRETS: Final[Mapping[AccountProvider, str]] = {
    AccountProvider.SMTP: "smtp takes a user and a secret, which is the password, both or neither",
    AccountProvider.RESEND: "resend needs a secret, which is the API key",
    AccountProvider.FILE: "file takes no secret",
}


def secret_owner(account_id: MailAccountId) -> str:
    """What a mail account's secret is sealed for."""
    return f"mail_account:{account_id}"


def takes_secret(provider: AccountProvider, settings: Mapping[str, Any]) -> bool:
    """Whether an account with these settings has a password or key."""
    return provider is AccountProvider.RESEND or (provider is AccountProvider.SMTP and "user" in settings)


def checked(provider: AccountProvider, settings: Mapping[str, Any], *, has_secret: bool) -> Mapping[str, Any]:
    """The settings, as they may be stored. Raises InvalidSetting."""
    if unknown := settings.keys() - _ALLOWED[provider]:
        raise InvalidSetting(f"{provider} takes no {', '.join(sorted(unknown))}")
    if missing := _REQUIRED[provider] - settings.keys():
        raise InvalidSetting(f"{provider} needs {', '.join(sorted(missing))}")
    for name, value in settings.items():
        _check(name, value)
    if has_secret != takes_secret(provider, settings):
        raise InvalidSetting(_SECRETS[provider])
    return dict(settings)


def _check(name: str, value: object) -> None:
    match name:
        case "port":
            fits = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_PORT
        case "tls":
            fits = value in _TLS
        case "host":
            fits = isinstance(value, str) and _HOST.fullmatch(value) is not None
        case "url":
            fits = isinstance(value, str) and _URL.fullmatch(value) is not None
        case _:
            fits = isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable()
    if not fits:
        raise InvalidSetting(f"the {name} cannot be {value!r}")
