"""What counts as an address, and when two spellings are one person."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from email_validator import EmailNotValidError, validate_email

from mailement_newsletter.errors import EmailTooLong, InvalidEmail

MAX_CHARACTERS: Final = 190
_MAX_OCTETS: Final = 254
_MAX_LOCAL_OCTETS: Final = 64

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# The everyday address. Sixty times cheaper than the full validator, which takes over for all others.
_PLAIN: Final = re.compile(
    rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`typed` is what the person wrote, trimmed; `key` is the same for every spelling of it."""

    typed: str
    key: str


def parse_address(raw: str) -> Address:
    """Trims, checks and keys an address (RFC 5322 addr-spec; no display name, no comment, no IP literal).

    The key is lower case, NFC, with the domain as IDNA A-labels. Plus tags and dots are kept: they are part of
    the address everywhere but at one provider. Raises EmailTooLong (190 characters), InvalidEmail.
    """
    typed = raw.strip()
    if len(typed) > MAX_CHARACTERS:
        raise EmailTooLong
    if _PLAIN.fullmatch(typed):
        local, _, domain = typed.partition("@")
        if len(local) > _MAX_LOCAL_OCTETS:
            raise InvalidEmail
        if "xn--" not in domain.lower():
            return Address(typed=typed, key=typed.lower())
    return _parse_unusual(typed)


def _parse_unusual(typed: str) -> Address:
    try:
        found = validate_email(
            typed, check_deliverability=False, allow_quoted_local=True, test_environment=True
        )
    except (EmailNotValidError, UnicodeError) as error:
        raise InvalidEmail from error
    domain = found.ascii_domain
    # In this order: lower case can make a pair that NFC composes (J and a caron).
    local = unicodedata.normalize("NFC", found.local_part.lower())
    key = f"{local}@{domain.lower()}"
    too_long = len(local.encode()) > _MAX_LOCAL_OCTETS or len(key.encode()) > _MAX_OCTETS
    if "." not in domain or too_long:
        raise InvalidEmail
    return Address(typed=typed, key=key)
