"""Which way a mail goes: from whom, through which account, how fast, and signed with what.

How the mailroom uses it:

    chosen = await book.choose(brand_id, kind)            # cached for a few seconds; one statement for all brands asked
    match chosen:
        case NoRoute():  put the message off until `chosen.until`, with `chosen.reason`
        case Route():    want = chosen.want(mails=1)      # mails that take the same route may ask together
    if want.limited:                                      # most brands have no limits: then there is nothing to ask
        (grant,) = await pacing.reserve(pool, [want], now)
        # grant.mails may leave; the rest asks again at grant.again_at. If grant.day_used_up:
        book.used_up(chosen, until=grant.again_at)        # `choose` gives the next sender in rank, if there is one
    provider = fleet.provider(chosen.account)             # providers/fleet.py; None is the account of the settings
    # What was granted and did not leave: await pacing.give_back(pool, [chosen.want(mails=n)])
    # 429: await pacing.slow_down(pool, chosen.account_key, retry_after, now)
    # quota or login refused: await senders.park(pool, chosen.account.id, until, reason); book.forget()
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailement_mailer.mailbox import Mailbox
from mailement_newsletter.rules.pacing import Bucket, DayQuota, Want
from mailement_newsletter.rules.senders import MailAccountId, SenderId


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInUse:
    """A mail account as the fleet needs it. `version` counts its changes; `secret_sealed` is opened by the fleet."""

    id: MailAccountId
    version: int
    provider: str
    settings: Mapping[str, Any]
    secret_sealed: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A DKIM key; `private_key` is PEM (PKCS 8), `algorithm` `rsa-sha256` or `ed25519-sha256` (RFC 6376, RFC 8463)."""

    domain: str
    selector: str
    algorithm: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`sender_id` None: the brand has no senders, `mailbox` is its own words or those of the settings.

    `account` None: the account of the settings. `account_key` names the account in the pacing buckets.
    """

    sender_id: SenderId | None
    mailbox: Mailbox
    reply_to: str | None
    account: AccountInUse | None
    account_key: str
    buckets: tuple[Bucket, ...]
    days: tuple[DayQuota, ...]
    dkim: SigningKey | None

    def want(self, *, mails: int) -> Want:
        return Want(mails=mails, buckets=self.buckets, days=self.days)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRoute:
    """Nobody may send for this brand and kind at present; ask again at `until`."""

    until: datetime
    reason: str
