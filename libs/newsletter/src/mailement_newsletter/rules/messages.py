"""The states of a message, and how an attempt to send it can end (docs/mailer.md)."""

from __future__ import annotations

from enum import StrEnum


class MessageState(StrEnum):
    QUEUED = "queued"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"


class AttemptOutcome(StrEnum):
    """`retry`: it goes out again; `interrupted`: nobody was there any more to see how it ended."""

    SENT = "sent"
    FAILED = "failed"
    RETRY = "retry"
    UNCERTAIN = "uncertain"
    INTERRUPTED = "interrupted"
