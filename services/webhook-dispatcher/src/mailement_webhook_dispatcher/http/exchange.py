"""What came of one POST: the words between the wire and whoever judges it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mailement_webhooks.deliveries import Phases

__all__ = ["MOST_OF_BODY", "Answer", "Exchange", "Fault", "FaultKind", "Limits", "Phases"]

# Bytes of an answer's body that are kept; reading ends there.
MOST_OF_BODY: Final = 4096


class FaultKind(StrEnum):
    """The first thing that went wrong on the way, in the order of the way. `internal_error` is ours, never theirs."""

    BAD_URL = "bad_url"
    DNS = "dns"
    BLOCKED_ADDRESS = "blocked_address"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECT_FAILED = "connect_failed"
    TLS = "tls"
    RESET = "reset"
    READ_TIMEOUT = "read_timeout"
    BAD_RESPONSE = "bad_response"
    BODY_TIMEOUT = "body_timeout"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds. `connect_seconds`: name, TCP and TLS together; `total_seconds`: all, to the end of the body."""

    connect_seconds: float
    total_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`detail` is for people; it holds no user name, no password and no query string."""

    kind: FaultKind
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`headers`: in their order and letters. `body`: its first 4096 bytes; `complete`: there was no more of it."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    complete: bool = True
    version: str = "1.1"
    phrase: str = ""

    def header(self, name: str) -> str | None:
        """The first value under this name, in any letters."""
        wanted = name.lower()
        return next((value for known, value in self.headers if known.lower() == wanted), None)

    @property
    def head(self) -> str:
        """Status line and headers, each ended by CRLF."""
        status_line = f"HTTP/{self.version} {self.status} {self.phrase}".rstrip()
        return "".join(
            f"{line}\r\n" for line in (status_line, *(f"{name}: {value}" for name, value in self.headers))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One attempt. An answer without a fault has arrived in time; a fault may come with the answer that had begun.

    `phases`: the time spent in each, also in the one that failed. `request_head`: request line and headers as they
    were sent, each ended by CRLF; empty if nothing was sent. `reused`: over a connection kept from before.
    """

    answer: Answer | None
    fault: Fault | None
    phases: Phases
    request_head: str = field(repr=False)
    reused: bool
