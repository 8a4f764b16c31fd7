"""Senders: in whose name a brand's mail leaves, and who takes over when one cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NewType

from mailement_common.ids import BrandId
from mailement_newsletter.rules.warmup import Warmup

SenderId = NewType("SenderId", int)
MailAccountId = NewType("MailAccountId", int)


class MailKind(StrEnum):
    """Why a mail is sent: a step of a drip, an answer to what one person did, or a campaign."""

    DRIP = "drip"
    TRANSACTIONAL = "transactional"
    CAMPAIGN = "campaign"


class SenderState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"


class MailAccountState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """`account_id` None: the account of the settings. The lowest `rank` goes first, the next ones are its failover.

    `warmup_limit`: the day's mails where the warm-up stands; None without one.
    """

    id: SenderId
    brand_id: BrandId
    account_id: MailAccountId | None
    name: str
    address: str
    reply_to: str | None
    kinds: frozenset[MailKind]
    rank: int
    state: SenderState
    daily_limit: int | None = None
    warmup: Warmup = Warmup.NONE
    warmup_limit: int | None = None

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2].lower()

    @property
    def warmup_key(self) -> str:
        """What the warm-up counts under: a domain is warmed up by all of its senders together."""
        return warmup_key(self.id, self.domain, self.warmup)

    @property
    def day_limits(self) -> Mapping[str, int]:
        """Most mails on one day, by what they are counted under; empty for no limit."""
        limits: dict[str, int] = {}
        if self.daily_limit is not None:
            limits[sender_key(self.id)] = self.daily_limit
        if self.warmup_limit is not None:
            limits[self.warmup_key] = min(self.warmup_limit, limits.get(self.warmup_key, self.warmup_limit))
        return limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What stands in the way at a moment. Accounts and senders that are not named have nothing in their way.

    `accounts_out`: paused or retired; `parked_until`: accounts that rest, None for that of the settings; `used`: what left
    on the day of `now`, by the keys of `Sender.day_limits`.
    """

    now: datetime
    accounts_out: frozenset[MailAccountId] = frozenset()
    parked_until: Mapping[MailAccountId | None, datetime] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nobody:
    """No sender can take the mail. `until`: when one can again, if that is known."""

    until: datetime | None
    reason: str


def choose(senders: Iterable[Sender], kind: MailKind, situation: Situation) -> Sender | Nobody:
    """The first in rank who may send this kind of mail now, of the senders of one brand."""
    able = [sender for sender in senders if kind in sender.kinds]
    if not able:
        return Nobody(until=None, reason=f"the brand has no sender for {kind} mail")
    obstacles = [(sender, _obstacle(sender, situation)) for sender in able]
    free = [sender for sender, obstacle in obstacles if obstacle is None]
    if free:
        return min(free, key=lambda sender: (sender.rank, sender.id))
    return _soonest([obstacle for _, obstacle in obstacles if obstacle is not None])


def sender_key(sender_id: SenderId) -> str:
    """What a sender's mails are counted under."""
    return f"sender:{sender_id}"


def warmup_key(sender_id: SenderId, domain: str, warmup: Warmup) -> str:
    """As the database's function of this name."""
    return f"domain:{domain}" if warmup is Warmup.DOMAIN else sender_key(sender_id)


def account_key(account_id: MailAccountId | None) -> str:
    """The bucket of a mail account; None is the account of the settings."""
    return "account:default" if account_id is None else f"account:{account_id}"


def day_of(moment: datetime) -> date:
    """The day that a mail counts to: everywhere the one of UTC."""
    return moment.astimezone(UTC).date()


def end_of_day(moment: datetime) -> datetime:
    return datetime.combine(day_of(moment) + timedelta(days=1), time(), UTC)


def _obstacle(sender: Sender, situation: Situation) -> Nobody | None:
    now = situation.now
    if sender.state is SenderState.PAUSED:
        return Nobody(until=None, reason="every sender is paused")
    if sender.account_id in situation.accounts_out:
        return Nobody(until=None, reason="the mail account is paused or retired")
    parked_until = situation.parked_until.get(sender.account_id)
    if parked_until is not None and parked_until > now:
        return Nobody(until=parked_until, reason="the mail account is parked")
    if any(situation.used.get(key, 0) >= limit for key, limit in sender.day_limits.items()):
        return Nobody(until=end_of_day(now), reason="the day's mails are used up")
    return None


def _soonest(obstacles: Sequence[Nobody]) -> Nobody:
    known = [obstacle for obstacle in obstacles if obstacle.until is not None]
    if not known:
        return obstacles[0]
    return min(known, key=lambda obstacle: (obstacle.until, obstacle.reason))
