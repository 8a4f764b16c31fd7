"""Text that came from people, made fit for headers, ledger rows and mails."""

from __future__ import annotations

import re
from typing import Final

# All that anybody may take for a line's end, the other control characters, and halves of surrogate pairs.
_BREAKING: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAIL_ADDRESS: Final = re.compile(r"<?[^\s<>@:,;\"'()]+@[^\s<>@:,;\"'()]+>?")
_UNSTORABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def one_line(text: str) -> str:
    """Control characters and line ends become spaces, and runs of spaces one."""
    return " ".join(_BREAKING.sub(" ", text).split())


def is_one_line(text: str) -> bool:
    """Whether nothing in this text could end a header."""
    return _BREAKING.search(text) is None


def without_addresses(text: str) -> str:
    """Servers repeat addresses, and what they say goes into the log."""
    return _MAIL_ADDRESS.sub("<address>", text)


def many_lines(text: str) -> str:
    """The text without what neither a mail nor a database can hold; tabs and line ends stay."""
    return _UNSTORABLE.sub("", text)


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
