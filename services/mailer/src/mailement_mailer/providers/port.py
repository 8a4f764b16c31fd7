"""What the mailer asks of whoever carries its mail."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from mailement_mailer.mailbox import Mailbox
from mailement_mailer.text import is_one_line
from mailement_newsletter.ids import MessageId

_RECIPIENT: Final = re.compile(
    r"""(?:"(?:[^"\\]|\\.)+"|[^\s<>(),:;@"\[\]\\]+)@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"""
)


class NotSendable(ValueError):
    """A mail cannot have this value: a line's end in a header, or a recipient that is not one address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedMail:
    """One mail to one address, complete and final: every attempt sends exactly this.

    `key` is the dedupe key; `message_id` the Message-ID with its angle brackets; `headers` are ASCII and do not
    repeat From, To, Subject or Message-ID; without `html` the mail is plain text. Raises NotSendable.
    """

    id: MessageId
    key: str
    sender: Mailbox
    recipient: str
    subject: str
    html: str | None
    text: str
    headers: Mapping[str, str]
    message_id: str

    def __post_init__(self) -> None:
        if not _RECIPIENT.fullmatch(self.recipient):
            raise NotSendable("the recipient is not one address")
        in_headers = [self.recipient, self.subject, self.message_id, *self.headers, *self.headers.values()]
        if not all(is_one_line(value) for value in in_headers):
            raise NotSendable("a header's value is not one line")
        if not all(value.isascii() for value in (*self.headers, *self.headers.values())):
            raise NotSendable("a header's value is not ASCII")


class Fault(StrEnum):
    """What a provider's refusal is about.

    `recipient`: there is no such mailbox, or not any more; `policy`: they do not want this from us; `auth`: our login,
    or SPF, DKIM, DMARC and the like of the sender; `rate`: too much at once; `quota`: the account has sent all that it
    may for now; `relay`: the way there is out of order or closed to us; `content`: the mail itself.
    """

    RECIPIENT = "recipient"
    MAILBOX_FULL = "mailbox_full"
    POLICY = "policy"
    AUTH = "auth"
    RATE = "rate"
    QUOTA = "quota"
    RELAY = "relay"
    CONTENT = "content"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The provider has taken the mail and answers for it now."""

    provider_message_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The provider will never take this mail. `code`: the answer's own, such as `550`; `enhanced`: RFC 3463."""

    reason: str
    code: str | None = None
    enhanced: str | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """Not taken, or taken by a provider that will know the key again; `after`: the provider's own wish.

    `provider_wide`: no other mail would have been taken either (network, account, limits), so this is not held
    against the mail, and the mailer rests before it tries the next one. `held_back`: the mail was not tried, since
    its destination rests or is busy; not held against it either, and mails to others go on. `may_have_arrived`: the
    answer is not known, so only the same key through the same account makes sure. `only_together`: the request was
    refused as a whole, and each of its mails may be taken alone.
    """

    reason: str
    after: timedelta | None = None
    provider_wide: bool = False
    held_back: bool = False
    may_have_arrived: bool = False
    only_together: bool = False
    code: str | None = None
    enhanced: str | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertain:
    """The whole mail was handed over and the answer never came, or says nothing."""

    reason: str
    code: str | None = None


Outcome = Sent | Failed | RetryLater | Uncertain


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """So many requests in so long, as a provider tells of itself."""

    limit: int
    window: timedelta


class Provider(Protocol):
    """`idempotent_for`: how long a second mail with the same key is known to be the same; zero: keys mean nothing."""

    @property
    def name(self) -> str: ...

    @property
    def idempotent_for(self) -> timedelta: ...

    async def send(self, mail: RenderedMail) -> Outcome:
        """Hands one mail over and tells what came of it; raises nothing but cancellation."""
        ...

    async def close(self) -> None:
        """Lets go of connections."""
        ...


@runtime_checkable
class BatchProvider(Provider, Protocol):
    """A provider that takes several mails in one request. Its limits count requests, not mails.

    `batch_max`: most mails in a request; `told`: the last limit that it told of, None for none yet.
    """

    @property
    def batch_max(self) -> int: ...

    @property
    def told(self) -> RateLimit | None: ...

    async def send_batch(self, key: str, mails: Sequence[RenderedMail]) -> Sequence[Outcome]:
        """Hands mails over in one request under one idempotency key; one outcome for each, in their order.

        Called again with the same key, the mails and their order are the same; so a Failed, which is the provider's answer for
        that key, holds for the calls before too. Raises nothing but cancellation.
        """
        ...
