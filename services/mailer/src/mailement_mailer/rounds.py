"""One round of claims: whose turn it is, which way their mail goes, how much of it may leave, and then to claim that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import asyncpg

from mailement_common.clock import Clock
from mailement_common.ids import BrandId
from mailement_mailer.desk import Desk
from mailement_mailer.routes import Route, RouteBook
from mailement_mailer.standstills import Standstills
from mailement_newsletter.queries import lanes, pacing
from mailement_newsletter.queries.lanes import Claims, Portion
from mailement_newsletter.queries.messages import Claimed
from mailement_newsletter.rules.lanes import Lane, Progress, Waiting, deal
from mailement_newsletter.rules.senders import MailAccountId, MailKind, SenderId

# Renewed for as long as a mail is in hand: whoever is silent for so long is gone.
LEASE: Final = timedelta(seconds=30)

_Way = tuple[BrandId, MailKind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What was claimed. `found`: it was worth looking, so look again."""

    claims: Claims
    routes: Mapping[_Way, Route]
    found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A route with limits, and the lanes that would like to take it."""

    route: Route
    lanes: Sequence[Lane]
    mails: int


class Rounds:
    """Goes round the brands, each round from where the one before it ended.

    `paced` knows the accounts' desks, and sets them to the rates of the routes; `closed` knows those that nothing gets through. Lanes whose account rests, is full, or has used up its limits are
    passed by; their rows are not touched.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        book: RouteBook,
        clock: Clock,
        *,
        paced: Callable[[Route], Desk],
        closed: Callable[[], Mapping[MailAccountId | None, datetime]],
    ) -> None:
        self._pool = pool
        self._book = book
        self._clock = clock
        self._paced = paced
        self._closed = closed
        self._progress = Progress(most_brands=lanes.MOST_BRANDS, most_lanes=lanes.MOST_LANES)
        self._standstills = Standstills()

    @property
    def trouble(self) -> str | None:
        """Why a brand's mail waits until somebody mends something; None if none does."""
        return self._standstills.trouble

    async def next(self, *, room: int) -> Round:
        """Claims at most what the desks have room for. `room`: the most that any of them has."""
        now = self._clock.now()
        waiting = await lanes.waiting_lanes(
            self._pool,
            now=now,
            after=self._progress.after,
            lanes_after=self._progress.lanes_after,
            room=room,
        )
        routes = await self._routes(waiting)
        dealt = self._deal(waiting, routes)
        granted = await self._granted(dealt, routes, now)
        claims = await self._claim(granted, now)
        await self._give_back(granted, claims.claimed, routes)
        more = self._progress.advance(waiting, passed=_passed(waiting, routes, dealt), dealt=granted)
        return Round(
            claims=claims,
            routes=routes,
            found=more or bool(claims.claimed or claims.cancelled),
        )

    async def _routes(self, waiting: Sequence[Waiting]) -> dict[_Way, Route]:
        """The ways that are open."""
        ways = {(each.lane.brand_id, each.lane.kind) for each in waiting if each.due}
        await self._book.load({brand for brand, _ in ways})
        closed = self._closed()
        chosen = {(brand, kind): await self._book.choose(brand, kind, closed) for brand, kind in ways}
        self._standstills.note(chosen, self._clock.now())
        return {way: route for way, route in chosen.items() if isinstance(route, Route)}

    def _deal(self, waiting: Sequence[Waiting], routes: Mapping[_Way, Route]) -> dict[Lane, int]:
        """Each account deals out its own room."""
        by_desk: dict[str, tuple[Desk, list[Waiting]]] = {}
        for each in waiting:
            route = routes.get((each.lane.brand_id, each.lane.kind))
            if route is None or not each.due:
                continue
            desk = self._paced(route)
            by_desk.setdefault(desk.key, (desk, []))[1].append(each)
        dealt: dict[Lane, int] = {}
        for desk, due in by_desk.values():
            dealt.update(deal(due, desk.room, most={brand: desk.room_for(brand) for brand in _brands(due)}))
        return dealt

    async def _granted(
        self, dealt: Mapping[Lane, int], routes: Mapping[_Way, Route], now: datetime
    ) -> dict[Lane, int]:
        """What the days of senders let through; whoever has no limit costs no question."""
        asked = _limited(dealt, routes)
        if not asked:
            return dict(dealt)
        grants = await pacing.reserve(self._pool, [each.route.want(mails=each.mails) for each in asked], now)
        granted = dict(dealt)
        for each, grant in zip(asked, grants, strict=True):
            if grant.day_used_up:
                self._book.forget(each.route.brand_id)
            left = grant.mails
            for lane in each.lanes:
                granted[lane] = min(granted[lane], left)
                left -= granted[lane]
        return {lane: mails for lane, mails in granted.items() if mails}

    async def _claim(self, granted: Mapping[Lane, int], now: datetime) -> Claims:
        if not granted:
            return Claims(claimed=(), cancelled=())
        portions = [
            Portion(lane=lane, mails=mails, lease_until=now + LEASE) for lane, mails in granted.items()
        ]
        return await lanes.claim(self._pool, portions, now=now, lease_token=uuid4())

    async def _give_back(
        self, granted: Mapping[Lane, int], claimed: Iterable[Claimed], routes: Mapping[_Way, Route]
    ) -> None:
        """What was granted and is not there to leave, or takes its old way."""
        left: dict[_Way, int] = {}
        for lane, mails in granted.items():
            if routes[lane.brand_id, lane.kind].days:
                left[lane.brand_id, lane.kind] = left.get((lane.brand_id, lane.kind), 0) + mails
        for message in claimed:
            way = message.brand.id, message.kind
            if way in left and message.payload is None:
                left[way] -= 1
        wants = [routes[way].want(mails=mails) for way, mails in left.items() if mails > 0]
        if wants:
            await pacing.give_back(self._pool, wants)


def _limited(dealt: Mapping[Lane, int], routes: Mapping[_Way, Route]) -> list[_Asked]:
    by_route: dict[tuple[BrandId, SenderId | None], _Asked] = {}
    for lane, mails in dealt.items():
        route = routes[lane.brand_id, lane.kind]
        if not route.days:
            continue
        who = route.brand_id, route.sender_id
        asked = by_route.get(who, _Asked(route=route, lanes=(), mails=0))
        by_route[who] = replace(asked, lanes=(*asked.lanes, lane), mails=asked.mails + mails)
    return list(by_route.values())


def _brands(waiting: Iterable[Waiting]) -> set[BrandId]:
    return {each.lane.brand_id for each in waiting}


def _passed(waiting: Sequence[Waiting], routes: Mapping[_Way, Route], dealt: Mapping[Lane, int]) -> set[Lane]:
    """Lanes that had no turn because there is no way for them at present; they do not wait for their turn either."""
    served = {routes[lane.brand_id, lane.kind].account_key for lane in dealt}
    return {
        each.lane
        for each in waiting
        if (route := routes.get((each.lane.brand_id, each.lane.kind))) is None
        or route.account_key not in served
    }
