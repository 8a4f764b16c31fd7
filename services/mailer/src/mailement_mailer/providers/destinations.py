"""Where mails go to, and how many at once each place takes. Pure: moments are seconds of any steady clock.

A destination is a mailbox provider with all its domains, or else the recipient's domain. The limits are those that
KumoMTA ships (assets/policy-extras/shaping.toml).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

# A destination that sent us away gets one connection, and one more for each round of mails that it takes.
_FIRST_REST: Final = 300.0
_LONGEST_REST: Final = 4 * 3600.0
# How long a mail may wait in hand for its turn; whoever would wait longer comes back when the turn has come.
_LONGEST_QUEUE: Final = 2.0
_SHORTEST_ABSENCE: Final = 1.0
_LONGEST_ABSENCE: Final = 600.0
# A mail's usual time until we know better, and how fast we believe that it has changed.
_USUAL_SECONDS: Final = 0.2
_NEWS: Final = 0.2
# Appointments leave room for mails that come without one.
_SPARE: Final = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`connections`: mails at the same time; `mails`: over one connection before another is taken."""

    connections: int
    mails: int

    def __post_init__(self) -> None:
        assert self.connections > 0
        assert self.mails > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """`name`: a group's, or the domain."""

    name: str
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A mailbox provider. `families`: names that it has under many top level domains, such as `yahoo`."""

    name: str
    limits: Limits
    domains: frozenset[str]
    families: frozenset[str] = frozenset()


DEFAULT_LIMITS: Final = Limits(connections=10, mails=100)

GROUPS: Final = (
    Group(
        name="google",
        limits=Limits(connections=5, mails=50),
        domains=frozenset({"gmail.com", "googlemail.com"}),
    ),
    Group(
        name="yahoo",
        limits=Limits(connections=10, mails=20),
        domains=frozenset({"aol.com", "aim.com", "ymail.com", "rocketmail.com", "verizon.net", "att.net"}),
        families=frozenset({"yahoo"}),
    ),
    Group(
        name="microsoft",
        limits=Limits(connections=5, mails=50),
        domains=frozenset({"msn.com", "passport.com"}),
        families=frozenset({"outlook", "hotmail", "live"}),
    ),
    Group(
        name="icloud",
        limits=Limits(connections=10, mails=5),
        domains=frozenset({"icloud.com", "me.com", "mac.com"}),
    ),
    Group(
        name="gmx",
        limits=Limits(connections=4, mails=20),
        domains=frozenset({"web.de", "mail.com"}),
        families=frozenset({"gmx"}),
    ),
    Group(
        name="comcast",
        limits=Limits(connections=25, mails=1000),
        domains=frozenset({"comcast.net", "xfinity.com"}),
    ),
    Group(
        name="orange",
        limits=Limits(connections=2, mails=100),
        domains=frozenset({"orange.fr", "wanadoo.fr"}),
    ),
)


class Destinations:
    """`groups` and `default` are open to others' experience."""

    def __init__(self, groups: Iterable[Group] = GROUPS, default: Limits = DEFAULT_LIMITS) -> None:
        self._default = default
        self._domains: dict[str, Destination] = {}
        self._families: dict[str, Destination] = {}
        for group in groups:
            destination = Destination(name=group.name, limits=group.limits)
            self._domains.update(dict.fromkeys(group.domains, destination))
            self._families.update(dict.fromkeys(group.families, destination))

    def of(self, recipient: str) -> Destination:
        """Of an address, whatever the case of its domain."""
        domain = recipient.rpartition("@")[2].lower()
        known = self._domains.get(domain) or self._families.get(_family(domain))
        return known or Destination(name=domain, limits=self._default)


def _family(domain: str) -> str:
    """`yahoo` of yahoo.fr and yahoo.co.uk; nothing of mail.yahoo.example and of yahoo.evil.example."""
    name, _, rest = domain.partition(".")
    match rest.split("."):
        case [top] if top:
            return name
        case [("co" | "com" | "net" | "org" | "ne" | "or"), top] if len(top) == 2:
            return name
        case _:
            return ""


@dataclass(frozen=True, slots=True)
class Go:
    """There is room now, and it is taken."""


@dataclass(frozen=True, slots=True)
class Queue:
    """It will be this mail's turn soon: the place in the queue is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComeBack:
    """In so many seconds; `rests`: the destination has sent us away."""

    seconds: float
    rests: bool


Admission = Go | Queue | ComeBack


@dataclass(slots=True)
class Traffic:
    """What goes to one destination now, and what it lets us send.

    `allowed` grows by one for each round of mails that were taken, up to the limit, after a rest cut it down to one.
    """

    limits: Limits
    under_way: int = 0
    queued: int = 0
    allowed: int = field(init=False)
    _taken: int = 0
    _resting_until: float = 0.0
    _last_rest: float = 0.0
    _seconds: float = _USUAL_SECONDS
    _next_appointment: float = 0.0

    def __post_init__(self) -> None:
        self.allowed = self.limits.connections

    def admit(self, now: float) -> Admission:
        """What a mail that wants to go there now has to do."""
        if now < self._resting_until:
            return self._appointment(now, rests=True)
        if self.has_room() and not self.queued:
            self.under_way += 1
            return Go()
        if (self.queued + 1) * self._pace() <= _LONGEST_QUEUE:
            self.queued += 1
            return Queue()
        return self._appointment(now, rests=False)

    def has_room(self) -> bool:
        return self.under_way < self.allowed

    def advance(self, now: float) -> bool:
        """Whether the first of the queue may go now; then it is under way."""
        if not self.queued or not self.has_room() or now < self._resting_until:
            return False
        self.queued -= 1
        self.under_way += 1
        return True

    def give_up(self, now: float) -> ComeBack:
        """One of the queue has waited for too long, or the destination rests by now."""
        self.queued -= 1
        return self._appointment(now, rests=now < self._resting_until)

    def leave(self) -> None:
        """One of the queue is not interested any more."""
        self.queued -= 1

    def done(self, seconds: float, *, taken: bool) -> None:
        """A mail under way has come to its end."""
        self.under_way -= 1
        self._seconds += (seconds - self._seconds) * _NEWS
        if not taken:
            return
        self._last_rest = 0.0
        self._taken += 1
        if self._taken >= self.allowed:
            self._taken = 0
            self.allowed = min(self.allowed + 1, self.limits.connections)

    def abandoned(self) -> None:
        """A mail under way was given up before it had an answer."""
        self.under_way -= 1

    def rest(self, now: float, asked: float | None) -> float:
        """It has sent us away: for as long as it says, else longer each time. Tells how many seconds are left."""
        if now >= self._resting_until:
            own = min(max(self._last_rest * 2, _FIRST_REST), _LONGEST_REST)
            self._last_rest = own if asked is None else asked
            self._resting_until = now + self._last_rest
        elif asked is not None:
            # Mails that were under way at the same time are sent away as well: one refusal, not many.
            self._resting_until = max(self._resting_until, now + asked)
        self.allowed, self._taken = 1, 0
        return self._resting_until - now

    def forgettable(self, now: float) -> bool:
        """Whether a destination that we know nothing of would be treated the same."""
        busy = self.under_way or self.queued or self._next_appointment > now
        trouble = self._last_rest and self._resting_until + _LONGEST_REST > now
        return not busy and not trouble

    def _pace(self) -> float:
        """Seconds from one mail to the next."""
        return self._seconds / self.allowed

    def _appointment(self, now: float, *, rests: bool) -> ComeBack:
        """One after the other, as fast as they will be taken: a backlog that came all at once comes back in turns."""
        earliest = max(now, self._resting_until)
        latest = earliest + _LONGEST_ABSENCE
        moment = min(max(self._next_appointment, earliest + self.queued * self._pace()), latest)
        self._next_appointment = moment + self._pace() * _SPARE
        return ComeBack(seconds=max(moment - now, _SHORTEST_ABSENCE), rests=rests)
