"""Mails and ledger values to test with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from mailement_common.ids import BrandId, SubscriberId
from mailement_mailer.mailbox import Mailbox
from mailement_mailer.providers.port import RenderedMail
from mailement_newsletter.ids import DripId, MessageId, StepId
from mailement_newsletter.queries.messages import Claimed, Recipient, SendingBrand, StepContent

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEYS = "test:" + "A" * 43 + "="
LINK = "https://news.example.com/unsubscribe/" + "A" * 32


def a_mail(key: str = "drip:1:1", **changes: Any) -> RenderedMail:
    mail: dict[str, Any] = {
        "id": MessageId(7),
        "key": key,
        "sender": Mailbox(name="Acme News", address="news@acme.example"),
        "recipient": "ada@example.org",
        "subject": "Welcome",
        "html": "<p>Hello Ada</p>",
        "text": "Hello Ada\n",
        "headers": {"Date": "Sun, 01 Mar 2026 12:00:00 +0000", "List-Unsubscribe": f"<{LINK}>"},
        "message_id": "<abc@acme.example>",
    }
    return RenderedMail(**{**mail, **changes})


def a_recipient(**changes: Any) -> Recipient:
    person: dict[str, Any] = {
        "id": SubscriberId(5),
        "email": "Ada@Example.org",
        "email_key": "ada@example.org",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "city": "London",
        "custom_fields": {"plan": "pro"},
    }
    return Recipient(**{**person, **changes})


def a_brand(**changes: Any) -> SendingBrand:
    brand: dict[str, Any] = {
        "id": BrandId(3),
        "slug": "acme",
        "name": "Acme",
        "sender_name": None,
        "sender_address": None,
    }
    return SendingBrand(**{**brand, **changes})


def a_claimed(**changes: Any) -> Claimed:
    message: dict[str, Any] = {
        "id": MessageId(7),
        "lease_token": UUID(int=1),
        "brand": a_brand(),
        "recipient": a_recipient(),
        "step_id": StepId(2),
        "dedupe_key": "drip:1:2",
        "payload": None,
        "attempts": 0,
        "traceparent": None,
        "created_at": NOON,
    }
    return Claimed(**{**message, **changes})


def a_step(
    subject: str = "Welcome", *, html: str | None = None, text: str | None = "Hello {{ first_name }}"
) -> StepContent:
    return StepContent(drip_id=DripId(4), subject=subject, html=html, text=text)
