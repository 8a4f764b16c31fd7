"""From a claimed message to the complete mail, and from the mail to the payload that the ledger freezes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Final, assert_never

from mailement_common.sealing import KeyRing
from mailement_mailer.mailbox import Mailbox, NotAMailbox, parse_mailbox
from mailement_mailer.providers.port import NotSendable, RenderedMail
from mailement_mailer.render import Renderer, Words
from mailement_mailer.text import one_line, shortened
from mailement_newsletter.content.sandbox import TemplateFault
from mailement_newsletter.links import unsubscribe_url
from mailement_newsletter.queries.messages import Claimed, Payload, Recipient, SendingBrand, StepContent
from mailement_newsletter.rules.senders import MailKind

_REASON_CHARACTERS: Final = 500
# Google asks for 5 to 15 characters that stay the same for all mail of one system.
_FEEDBACK_SENDER: Final = "mailement"
# RFC 8058: mail programs unsubscribe with one POST to the link; only to one that nobody can read or change on its way.
_ONE_CLICK: Final = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


class CannotCompose(Exception):
    """No mail can be made of this message; the text is the reason that the ledger keeps."""


class Composer:
    """Makes mails. `sender` writes for brands that have no sender address of their own."""

    def __init__(self, *, sender: Mailbox, public_url: str, keys: KeyRing) -> None:
        self._sender = sender
        self._public_url = public_url
        self._keys = keys
        self._renderer = Renderer()

    def compose(
        self,
        message: Claimed,
        content: StepContent | None,
        now: datetime,
        *,
        sender: Mailbox | None = None,
        reply_to: str | None = None,
    ) -> RenderedMail:
        """The frozen mail if there is one, else a new one. Raises CannotCompose.

        `sender`: who was chosen to write; None: the brand's own sender, else the house. `reply_to`: `Name <address>`
        or an address.
        """
        if message.payload is not None:
            return thaw(message, message.payload)
        if content is None:
            raise CannotCompose("template: the step is gone")
        link = unsubscribe_url(self._public_url, self._keys, message.recipient.id)
        sender = sender or self._sender_of(message.brand)
        words = self._words(message, content, link)
        try:
            return RenderedMail(
                id=message.id,
                key=message.key,
                sender=sender,
                recipient=_address_of(message.recipient),
                subject=words.subject,
                html=words.html,
                text=words.text,
                headers=_headers(message, content, sender, _reply_to(reply_to), link, now),
                message_id=_message_id(message.key, sender),
            )
        except NotSendable as fault:
            raise CannotCompose(f"mail: {fault}") from fault

    def _words(self, message: Claimed, content: StepContent, link: str) -> Words:
        try:
            return self._renderer.render(
                content,
                message.recipient,
                message.brand,
                link,
                with_footer=message.kind is not MailKind.TRANSACTIONAL,
            )
        except TemplateFault as fault:
            reason = shortened(f"template: {one_line(str(fault))}", _REASON_CHARACTERS)
            raise CannotCompose(reason) from fault

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
        key=message.key,
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


def _reply_to(text: str | None) -> Mailbox | None:
    """The name only where a header holds it as it is: a reply needs the address."""
    if text is None:
        return None
    try:
        mailbox = parse_mailbox(text)
        return mailbox if mailbox.name.isascii() else Mailbox(name="", address=mailbox.address)
    except NotAMailbox as fault:
        raise CannotCompose(f"reply-to: {fault}") from fault


def _headers(
    message: Claimed,
    content: StepContent,
    sender: Mailbox,
    reply_to: Mailbox | None,
    link: str,
    now: datetime,
) -> Mapping[str, str]:
    return {
        "Date": format_datetime(now),
        **({} if reply_to is None else {"Reply-To": str(reply_to)}),
        **_list_headers(message, sender, link),
        "Feedback-ID": _feedback_id(message, content),
        "X-Mailement-Message": str(message.id),
    }


def _list_headers(message: Claimed, sender: Mailbox, link: str) -> Mapping[str, str]:
    """What makes it a newsletter's mail. A transactional mail answers one person, and there is no list to leave."""
    match message.kind:
        case MailKind.DRIP | MailKind.CAMPAIGN:
            return {
                "List-Id": _list_id(message.brand, sender),
                "List-Unsubscribe": f"<{link}>",
                **(_ONE_CLICK if link.startswith("https://") else {}),
                "Precedence": "bulk",
            }
        case MailKind.TRANSACTIONAL:
            return {}
        case _:
            assert_never(message.kind)


def _feedback_id(message: Claimed, content: StepContent) -> str:
    """What Gmail counts complaints by: the series, the brand, the stream and us; the same for all who get the mail."""
    series = "" if content.drip_id is None else f"drip-{content.drip_id}"
    return f"{series}:{message.brand.slug}:{message.kind}:{_FEEDBACK_SENDER}"


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
