"""RFC 5322 bytes of a mail, by the standard library: what ours are compared with."""

from __future__ import annotations

import hashlib
import re
from email.header import Header
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, Policy
from email.utils import formataddr
from typing import Any, Final

from typing_extensions import override

from mailement_mailer.providers.port import RenderedMail

_UNQUOTED: Final = re.compile(r"\\(.)")


class _Unfolded(UnstructuredHeader, BaseHeader):
    """Written as it is: the library would turn a long URL without spaces into encoded words, which no reader of
    List-Unsubscribe decodes.
    """

    @override
    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


class _Encoded(_Unfolded):
    """A header whose encoded words stand ready. The library loses a space between those that it makes of a long
    text.
    """

    @classmethod
    @override
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        super().parse(value, kwds)
        # Not decoded again: it is written as it was given.
        kwds["decoded"] = value

    @override
    def fold(self, *, policy: Policy) -> str:
        return super().fold(policy=policy).replace("?= =?", f"?={policy.linesep} =?")


def build(mail: RenderedMail) -> bytes:
    """The mail with CRLF line ends. Pure ASCII unless the recipient's address is not."""
    message = EmailMessage(policy=_policy(mail))
    message["From"] = _sender(mail.sender.name, mail.sender.address)
    message["To"] = _address("", mail.recipient)
    message["Subject"] = mail.subject if mail.subject.isascii() else _words(mail.subject, header="Subject")
    message["Message-ID"] = mail.message_id
    for name, value in mail.headers.items():
        message[name] = value
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
        # The library's boundary is random; a second attempt must not differ from the first.
        message.set_boundary(f"=_{hashlib.sha256(mail.key.encode()).hexdigest()[:32]}")
    return message.as_bytes()


def _policy(mail: RenderedMail) -> EmailPolicy[EmailMessage]:
    registry = HeaderRegistry()
    registry.map_to_type("From", _Encoded)
    if not mail.subject.isascii():
        registry.map_to_type("Subject", _Encoded)
    for name in ("Message-ID", *mail.headers):
        registry.map_to_type(name, _Unfolded)
    return SMTP.clone(cte_type="7bit", utf8=not mail.recipient.isascii(), header_factory=registry)


def _sender(name: str, address: str) -> str:
    if name.isascii():
        return formataddr((name, address))
    return f"{_words(name, header='From')} <{address}>"


def _words(text: str, *, header: str) -> str:
    return Header(text, "utf-8", header_name=header).encode(linesep="")


def _address(name: str, address: str) -> Address:
    local, _, domain = address.rpartition("@")
    if local.startswith('"'):
        local = _UNQUOTED.sub(r"\1", local[1:-1])
    return Address(display_name=name, username=local, domain=domain)
