"""Warming up: a new mailbox or domain sends a little more each day, as long as nobody minds.

Nothing is faked: a ramp is a limit for the day and honest counts of what came back. The ramps are those that the
trade uses for mailboxes; a domain grows by two fifths a day, as SendGrid's automated warm-up does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

# Providers forget whom they have not heard of for so long.
IDLE_DAYS: Final = 30
WEEK_DAYS: Final = 7

_DOMAIN_START: Final = 50
_DOMAIN_GROWTH: Final = 1.4
_DOMAIN_CAP: Final = 1_000_000

# Google asks senders to stay below a thousandth of complaints, and acts at three.
_COMPLAINTS_PAUSE: Final = 0.003
_COMPLAINTS_HALVE: Final = 0.001
_BOUNCES_HALVE: Final = 0.05
_BOUNCES_HOLD: Final = 0.02


class Warmup(StrEnum):
    """How fast; the first three are for a mailbox of a person, the last for a domain that sends newsletters."""

    NONE = "none"
    SLOW = "slow"
    NORMAL = "normal"
    FAST = "fast"
    DOMAIN = "domain"


class Gate(StrEnum):
    """What the last week allows the next day to be."""

    GROW = "grow"
    HOLD = "hold"
    HALVE = "halve"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a warm-up stands. `day` counts the days that were made use of, from 0; `limit`: mails on the present one."""

    day: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """What was sent in the last seven days, and what came back."""

    sent: int = 0
    bounced: int = 0
    complained: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ramp:
    start: int
    step: int
    cap: int

    def on(self, day: int) -> int:
        return min(self.cap, self.start + self.step * day)


_SLOW: Final = _Ramp(start=5, step=1, cap=20)
_NORMAL: Final = _Ramp(start=5, step=2, cap=40)
_FAST: Final = _Ramp(start=7, step=3, cap=50)


def first_stage(warmup: Warmup) -> Stage | None:
    """Where a warm-up begins; None where there is none."""
    limit = limit_on(warmup, 0)
    return None if limit is None else Stage(day=0, limit=limit)


def limit_on(warmup: Warmup, day: int) -> int | None:
    """Mails on day `day` of the ramp, from 0; None for no ramp."""
    match warmup:
        case Warmup.NONE:
            return None
        case Warmup.SLOW:
            return _SLOW.on(day)
        case Warmup.NORMAL:
            return _NORMAL.on(day)
        case Warmup.FAST:
            return _FAST.on(day)
        case Warmup.DOMAIN:
            # The cap is reached on day 30; beyond it the power would soon be too large to compute.
            return min(_DOMAIN_CAP, math.ceil(_DOMAIN_START * _DOMAIN_GROWTH ** min(day, IDLE_DAYS)))
        case _:
            assert_never(warmup)


def gate(week: Week) -> Gate:
    """One bounce is an accident and no rate; one complaint is somebody who minds."""
    if not week.sent:
        return Gate.GROW
    complaints, bounces = week.complained / week.sent, week.bounced / week.sent
    if complaints >= _COMPLAINTS_PAUSE:
        return Gate.PAUSE
    if complaints >= _COMPLAINTS_HALVE or (week.bounced > 1 and bounces > _BOUNCES_HALVE):
        return Gate.HALVE
    if week.bounced > 1 and bounces > _BOUNCES_HOLD:
        return Gate.HOLD
    return Gate.GROW


def next_stage(warmup: Warmup, stage: Stage, *, used: int, idle_days: int, week: Week) -> Stage | None:
    """The stage for a new day, after a day of `stage` on which `used` mails left.

    It moves on only if at least half of the limit was used: what was not tried has proved nothing. `idle_days`: since
    the last mail; after thirty it begins anew. None where there is no warm-up.
    """
    if idle_days >= IDLE_DAYS:
        return first_stage(warmup)
    grown = limit_on(warmup, stage.day + 1)
    same = limit_on(warmup, stage.day)
    if grown is None or same is None:
        return None
    match gate(week):
        case Gate.PAUSE:
            return Stage(day=stage.day, limit=0)
        case Gate.HALVE:
            return Stage(day=stage.day, limit=max(1, same // 2))
        case Gate.HOLD:
            return Stage(day=stage.day, limit=same)
        case Gate.GROW if stage.limit and used * 2 >= stage.limit:
            return Stage(day=stage.day + 1, limit=grown)
        case Gate.GROW:
            return Stage(day=stage.day, limit=same)
