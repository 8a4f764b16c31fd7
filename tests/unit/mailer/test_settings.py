from __future__ import annotations

from typing import Any

import pytest

from mailement_common.settings import ConfigurationFaults, load
from mailement_mailer.providers import smtp
from mailement_mailer.providers.choose import provider_for
from mailement_mailer.providers.file import FileProvider
from mailement_mailer.providers.resend import ResendProvider
from mailement_mailer.providers.smtp import SmtpProvider
from mailement_mailer.settings import MailerSettings
from tests.support.mails import KEYS

NEEDED = {"database_url": "postgresql://localhost/x", "amqp_url": "amqp://localhost", "secret_keys": KEYS}


PUBLIC = {"public_url": "https://news.example"}


def settings(**given: Any) -> MailerSettings:
    return load(MailerSettings, {**NEEDED, **given})


def faults(**given: Any) -> list[str]:
    with pytest.raises(ConfigurationFaults) as refusal:
        settings(**given)
    return refusal.value.faults


def test_without_a_word_mail_goes_into_a_folder() -> None:
    assert isinstance(provider_for(settings()), FileProvider)


def test_every_missing_setting_of_smtp_is_named() -> None:
    named = [fault.partition(":")[0] for fault in faults(mail_provider="smtp")]
    assert named == ["MAILEMENT_PUBLIC_URL", "MAILEMENT_MAIL_FROM", "MAILEMENT_SMTP_HOST"]


def test_every_missing_setting_of_resend_is_named() -> None:
    named = [fault.partition(":")[0] for fault in faults(mail_provider="resend")]
    assert named == ["MAILEMENT_PUBLIC_URL", "MAILEMENT_MAIL_FROM", "MAILEMENT_RESEND_API_KEY"]


def test_a_stop_waits_longer_than_the_slowest_answer_takes() -> None:
    assert settings().drain_seconds > smtp.LONGEST_SECONDS


@pytest.mark.parametrize("half", [{"smtp_user": "me"}, {"smtp_password": "secret"}])
def test_half_a_login_is_a_fault(half: dict[str, str]) -> None:
    (fault,) = faults(mail_provider="smtp", mail_from="a@b.example", smtp_host="relay", **PUBLIC, **half)
    assert fault.startswith("MAILEMENT_SMTP_PASSWORD:")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mail_provider", "pigeon"),
        ("mail_from", "nobody"),
        ("mail_from", "a@b.example\r\nBcc: c@d.example"),
        ("public_url", "https://news.example/"),
        ("public_url", "news.example"),
        ("smtp_tls", "perhaps"),
        ("smtp_port", 70_000),
        ("resend_url", "ftp://x"),
        ("mailer_concurrency", 0),
    ],
)
def test_a_bad_value_is_named(name: str, value: object) -> None:
    (fault,) = faults(**{name: value})
    assert fault.startswith(f"MAILEMENT_{name.upper()}:")


@pytest.mark.parametrize(
    ("tls", "port"), [("none", 25), ("starttls", 587), ("tls", 465), ("opportunistic", 25)]
)
def test_the_port_follows_from_the_kind_of_tls(tls: str, port: int) -> None:
    chosen = settings(
        mail_provider="smtp", mail_from="a@b.example", smtp_host="relay", smtp_tls=tls, **PUBLIC
    )
    assert chosen.effective_smtp_port == port
    assert isinstance(provider_for(chosen), SmtpProvider)


async def test_resend_needs_a_key_and_a_sender() -> None:
    chosen = settings(mail_provider="resend", mail_from="A <a@b.example>", resend_api_key="re_1", **PUBLIC)
    assert isinstance(provider_for(chosen), ResendProvider)
