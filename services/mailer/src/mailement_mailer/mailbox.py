"""A sender: `Name <address>`, as settings and brands give it."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parseaddr

from typing_extensions import override

from mailement_mailer.text import is_one_line, one_line
from mailement_newsletter.rules.names import SENDER_ADDRESS


class NotAMailbox(ValueError):
    """The text cannot stand in a From header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """`address` is ASCII: an international domain is written as its A-label. `name` may be empty."""

    name: str
    address: str

    def __post_init__(self) -> None:
        """Raises NotAMailbox."""
        if not SENDER_ADDRESS.fullmatch(self.address):
            raise NotAMailbox("the address is not `local@domain` in ASCII")
        if not is_one_line(self.name):
            raise NotAMailbox("the name is not one line of text")

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2].lower()

    @override
    def __str__(self) -> str:
        if not self.name:
            return self.address
        quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{self.address}>'


def parse_mailbox(text: str) -> Mailbox:
    """Reads `Name <local@domain>` or `local@domain`. Raises NotAMailbox."""
    if not is_one_line(text):
        raise NotAMailbox("it is not one line of text")
    name, address = parseaddr(text)
    return Mailbox(name=one_line(name), address=address)
