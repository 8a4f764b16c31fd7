"""What things may be called: short enough for every column and header, and without surprises in a URL or a mail."""

from __future__ import annotations

import re
from typing import Final

from mailement_newsletter.errors import EmailTooLong, InvalidEmail, InvalidName
from mailement_newsletter.rules.addresses import parse_address

# Characters, after trimming (Mailement document, section 3, for the first three).
MAX_FIRST_NAME: Final = 80
MAX_LAST_NAME: Final = 80
MAX_CITY: Final = 120
MAX_SOURCE: Final = 120
MAX_TOPIC_SLUG: Final = 190
_MAX_NAME: Final = 200

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
EVENT: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
GIVEN_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# What stands in a From header as it is.
SENDER_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII
)
# A brand's slug becomes a label of its List-Id.
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def slug(text: str) -> str:
    """Of an account or a brand. Raises InvalidName."""
    if not _SLUG.fullmatch(text):
        raise InvalidName(f"{text!r} is no slug: 1 to 63 of a-z, 0-9 and -, not - at either end")
    return text


def topic_slug(text: str) -> str:
    """Trimmed. Raises InvalidName."""
    return line("a topic's slug", text, MAX_TOPIC_SLUG)


def event_name(text: str) -> str:
    """Of an event that an integrator reports. Raises InvalidName."""
    if not EVENT.fullmatch(text):
        raise InvalidName("an event's name has 1 to 100 of letters, digits, _, ., : and -")
    return text


def given_id(text: str) -> str:
    """By which an integrator knows an event. Raises InvalidName."""
    if not GIVEN_ID.fullmatch(text):
        raise InvalidName("an event's id has 1 to 64 of letters, digits, _, ., : and -")
    return text


def name(text: str) -> str:
    """Of anything that people read. Trimmed. Raises InvalidName."""
    return line("a name", text, _MAX_NAME)


def line(what: str, text: str, most: int) -> str:
    """One line of text, trimmed, not empty, of at most `most` characters. Raises InvalidName."""
    trimmed = text.strip()
    if not 0 < len(trimmed) <= most or CONTROL.search(trimmed):
        raise InvalidName(f"{what} has 1 to {most} characters, none of them a control character")
    return trimmed


def sender_address(text: str) -> str:
    """An address that every mail system can send from: ASCII, the domain as A-labels. Raises InvalidName."""
    try:
        address = parse_address(text)
    except (InvalidEmail, EmailTooLong):
        raise InvalidName(f"{text!r} is no address to send from") from None
    local = address.typed.rpartition("@")[0]
    domain = address.key.rpartition("@")[2]
    if not local.isascii():
        raise InvalidName("a sender's address is ASCII before the @")
    if not SENDER_ADDRESS.fullmatch(f"{local}@{domain}"):
        raise InvalidName("a sender's address needs no quotes")
    return f"{local}@{domain}"
