"""From a claimed message to the complete mail, and from the mail to the payload that the ledger freezes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from mailement_common.sealing import KeyRing
from mailement_mailer.mailbox import Mailbox, NotAMailbox
from mailement_mailer.providers.port import NotSendable, RenderedMail
from mailement_mailer.render import Renderer
from mailement_mailer.sandbox import TemplateFault
from mailement_mailer.text import one_line, shortened
from mailement_newsletter.links import unsubscribe_url
from mailement_newsletter.queries.messages import Claimed, Payload, Recipient, SendingBrand, StepContent

_REASON_CHARACTERS: Final = 500


class CannotCompose(Exception):
    """No mail can be made of this message; the text is the reason that the ledger keeps."""


class Composer:
    """Makes mails. `sender` writes for brands that have no sender address of their own."""

    def __init__(self, *, sender: Mailbox, public_url: str, keys: KeyRing) -> None:
        self._sender = sender
        self._public_url = public_url
        self._keys = keys
        self._renderer = Renderer()

    def compose(self, message: Claimed, content: StepContent | None, now: datetime) -> RenderedMail:
        """The frozen mail if there is one, else a new one. Raises CannotCompose."""
        if message.payload is not None:
            return thaw(message, message.payload)
        if content is None:
            raise CannotCompose("template: the step is gone")
        link = unsubscribe_url(self._public_url, self._keys, message.recipient.id)
        sender = self._sender_of(message.brand)
        try:
            words = self._renderer.render(content, message.recipient, message.brand, link)
        except TemplateFault as fault:
            reason = shortened(f"template: {one_line(str(fault))}", _REASON_CHARACTERS)
            raise CannotCompose(reason) from fault
        try:
            return RenderedMail(
                id=message.id,
                key=message.dedupe_key,
                sender=sender,
                recipient=_address_of(message.recipient),
                subject=words.subject,
                html=words.html,
                text=words.text,
                headers=_headers(message, sender, link, now),
                message_id=_message_id(message.dedupe_key, sender),
            )
        except NotSendable as fault:
            raise CannotCompose(f"mail: {fault}") from fault

    def _sender_of(self, brand: SendingBrand) -> Mailbox:
        try:
            return Mailbox(
                name=one_line(
                    brand.sender_name or (brand.name if brand.sender_address else self._sender.name)
                ),
                address=brand.sender_address or self._sender.address,
            )
        except NotAMailbox as fault:
            raise CannotCompose(f"sender: {fault}") from fault


def freeze(mail: RenderedMail) -> Payload:
    """The mail as the ledger keeps it; `thaw` gives the same mail back."""
    return {
        "sender": {"name": mail.sender.name, "address": mail.sender.address},
        "recipient": mail.recipient,
        "subject": mail.subject,
        "html": mail.html,
        "text": mail.text,
        # As pairs: jsonb would put the names of an object into an order of its own.
        "headers": [[name, value] for name, value in mail.headers.items()],
        "message_id": mail.message_id,
    }


def thaw(message: Claimed, payload: Payload) -> RenderedMail:
    return RenderedMail(
        id=message.id,
        key=message.dedupe_key,
        sender=Mailbox(name=payload["sender"]["name"], address=payload["sender"]["address"]),
        recipient=payload["recipient"],
        subject=payload["subject"],
        html=payload["html"],
        text=payload["text"],
        headers=dict(payload["headers"]),
        message_id=payload["message_id"],
    )


def _address_of(recipient: Recipient) -> str:
    """The local part as it was typed, since its case may matter, at the domain in ASCII."""
    local = recipient.email.rpartition("@")[0]
    domain = recipient.email_key.rpartition("@")[2]
    return f"{local}@{domain}"


def _headers(message: Claimed, sender: Mailbox, link: str, now: datetime) -> Mapping[str, str]:
    return {
        "Date": format_datetime(now),
        "List-Id": _list_id(message.brand, sender),
        "List-Unsubscribe": f"<{link}>",
        # RFC 8058: mail programs unsubscribe with one POST to the link above.
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Precedence": "bulk",
        "X-Mailement-Message": str(message.id),
    }


def _list_id(brand: SendingBrand, sender: Mailbox) -> str:
    identifier = f"<{brand.slug}.{sender.domain}>"
    name = one_line(brand.name)
    if not name.isascii():
        return identifier
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" {identifier}'


def _message_id(key: str, sender: Mailbox) -> str:
    digest = hashlib.sha256(key.encode()).digest()[:15]
    return f"<{base64.b32encode(digest).decode().lower()}@{sender.domain}>"
