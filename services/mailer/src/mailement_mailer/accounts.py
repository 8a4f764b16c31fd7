"""The mail accounts that are in use here: a desk for each, how they fare, and what they told of their limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final

import asyncpg

from mailement_common.clock import Clock
from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.logs import logger
from mailement_mailer.desk import Desk, Unit
from mailement_mailer.pace import Pace
from mailement_mailer.providers.fleet import AccountInUse, Fleet
from mailement_mailer.providers.port import BatchProvider, Fault, Outcome, Provider, RateLimit, RetryLater
from mailement_mailer.routes import NoRoute, Route, RouteBook
from mailement_mailer.settle import DEFAULT_PAUSE
from mailement_newsletter.queries import pacing, senders
from mailement_newsletter.queries.messages import Claimed, KnownKeys
from mailement_newsletter.rules.mail_keys import KEPT
from mailement_newsletter.rules.pacing import Want, bucket_for
from mailement_newsletter.rules.senders import MailAccountId

# Faults that only the account's owner or the next day can mend, for every mailer.
_PARKING: Final = frozenset({Fault.AUTH, Fault.QUOTA})
# The row of a parked account says how long, and may be unparked: the desk bridges the time until that is known.
_UNTIL_PARKED: Final = timedelta(seconds=5)
_GIVE_BACK_SECONDS: Final = 5

log = logger(__name__)


class Accounts:
    """Desks by account. `spawn`, `deliver`, `put_back`, `keep_running` and `freed` are what the mailroom gives them."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        book: RouteBook,
        fleet: Fleet,
        clock: Clock,
        *,
        concurrency: int,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        deliver: Callable[[Desk, Unit], Awaitable[None]],
        put_back: Callable[[Desk, Sequence[Unit]], Awaitable[None]],
        keep_running: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
        freed: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._book = book
        self._fleet = fleet
        self._clock = clock
        self._concurrency = concurrency
        self._spawn = spawn
        self._deliver = deliver
        self._put_back = put_back
        self._keep_running = keep_running
        self._freed = freed
        self._desks: dict[str, Desk] = {}
        self._paces: dict[str, Pace] = {}
        self._told: dict[str, RateLimit] = {}

    @property
    def trouble(self) -> str | None:
        """Of the first account that has some."""
        return next((desk.trouble for desk in self._desks.values() if desk.trouble is not None), None)

    @property
    def most_room(self) -> int:
        """The most that any desk has; one that is not there yet would be empty."""
        return max([self._concurrency, *(desk.room for desk in self._desks.values())])

    @property
    def full(self) -> set[MailAccountId | None]:
        """Accounts that have no room for what goes out once more. One that is closed has: its mails may go another way."""
        return {
            None if desk.account is None else desk.account.id
            for desk in self._desks.values()
            if desk.closed_for <= 0 and not desk.room_again
        }

    def batches_again(self, most: int) -> int:
        """So many batches have room at whichever account they are for, of those that are not full. One, as long as no
        account is known.
        """
        rooms = [desk.room_again / desk.batch_max for desk in self._desks.values() if desk.room_again]
        return min(most, min((ceil(room) for room in rooms), default=1))

    @property
    def in_hand(self) -> list[Claimed]:
        """What this process has claimed and is not done with."""
        return [message for desk in self._desks.values() for message in desk.in_hand]

    @property
    def closed(self) -> dict[MailAccountId | None, datetime]:
        """Accounts that nothing gets through, as seen from here, and until when that is believed."""
        now = self._clock.now()
        return {
            None if desk.account is None else desk.account.id: now + timedelta(seconds=desk.closed_for)
            for desk in self._desks.values()
            if desk.closed_for > 0
        }

    @property
    def known_keys(self) -> KnownKeys:
        own = self._fleet.provider(None)
        kept = dict(KEPT)
        if own.idempotent_for:
            kept[own.name] = own.idempotent_for
        return KnownKeys(own=own.name, kept=kept)

    def provider(self, desk: Desk) -> Provider:
        return self._fleet.provider(desk.account)

    def desk_of(self, route: Route) -> Desk:
        """The desk of the route's account."""
        return self._desk(route.account_key, route.account)

    def paced(self, route: Route) -> Desk:
        """The same, for a route that has just been looked up: from now on it keeps to that route's rate.

        Mails are about that took older routes: what those say of the rate is past.
        """
        desk = self.desk_of(route)
        told = self._told.get(desk.key)
        if route.bucket is None and told is not None:
            # The route is of a moment before that was told.
            desk.keep_to(bucket_for(desk.key, limit=told.limit, window=told.window))
        else:
            desk.keep_to(route.bucket)
        return desk

    async def way_back(self, message: Claimed) -> Route | NoRoute:
        """The way that a frozen mail took before, whatever way others take by now."""
        way = await self._book.way_back(message.brand.id, message.sender_id, message.account_id)
        if isinstance(way, Route) and (closed_for := self.paced(way).closed_for) > 0:
            until = self._clock.now() + timedelta(seconds=closed_for)
            return NoRoute(until=until, reason=self.desk_of(way).trouble or "the account is closed")
        return way

    def clear(self) -> list[tuple[Desk, list[Unit]]]:
        """Everything that waits."""
        return [(desk, desk.clear()) for desk in self._desks.values()]

    def judge(self, desk: Desk, outcomes: Sequence[Outcome]) -> RetryLater | None:
        """What outcomes say of the account. A refusal that would have met any mail lets the desk rest at once.

        Too much at once is no reason to leave an account for another one: the brand chose their order.
        """
        refusal = next(
            (each for each in outcomes if isinstance(each, RetryLater) and each.provider_wide), None
        )
        if refusal is not None:
            desk.trouble = refusal.reason
            if refusal.fault is Fault.RATE:
                desk.rest(_pause(refusal).total_seconds())
            else:
                desk.close(_closed_for(desk, refusal).total_seconds())
        elif any(not isinstance(each, RetryLater) for each in outcomes):
            desk.trouble = None
        return refusal

    async def report(self, desk: Desk, refusal: RetryLater | None) -> None:
        """Lets the other mailers know: of a limit that the provider told, of an account that parks or slows down."""
        await self._observe(desk)
        if refusal is None:
            return
        now = self._clock.now()
        if refusal.fault is Fault.RATE:
            await pacing.slow_down(self._pool, desk.key, _pause(refusal), now)
        elif refusal.fault in _PARKING and desk.account is not None:
            until = now + _pause(refusal)
            await senders.park(self._pool, desk.account.id, until=until, reason=refusal.reason)
            log.warning(
                "mail_account.parked",
                account_id=desk.account.id,
                until=until.isoformat(),
                reason=refusal.reason,
            )
        self._book.forget()
        self._freed()

    async def close(self) -> None:
        """Whoever still waits for a turn is cancelled, and nobody stands in line any more."""
        self.clear()
        for pace in self._paces.values():
            await pace.close()

    async def give_back(self, routes: Iterable[Route]) -> None:
        """Days' shares of mails that did not leave."""
        wants = [route.want(mails=1) for route in routes if route.days]
        if wants:
            async with _or_not(messages=len(wants)):
                await pacing.give_back(self._pool, wants)

    async def give_back_frozen(self, messages: Iterable[Claimed]) -> None:
        """The same of mails that took theirs when they first went out, and take another one when they are composed anew."""
        limited = [message for message in messages if message.is_frozen and message.sender_id is not None]
        if limited:
            async with _or_not(messages=len(limited)):
                await pacing.give_back(self._pool, [await self._share(message) for message in limited])

    async def _share(self, message: Claimed) -> Want:
        moment = message.first_attempt_at or self._clock.now()
        days = await self._book.days_of(message.brand.id, message.sender_id, moment)
        return Want(mails=1, days=days)

    async def _turn(self, desk: Desk) -> bool:
        """Waits until a mail or a request may leave. False: that would take too long, and the desk rests."""
        bucket = desk.bucket
        if bucket is None:
            return True
        wait = await self._paces[desk.key].turn(bucket)
        if wait is not None and desk.bucket == bucket:
            desk.await_turn(wait.total_seconds())
        return wait is None

    def _desk(self, key: str, account: AccountInUse | None) -> Desk:
        desk = self._desks.get(key)
        if desk is None:
            provider = self._fleet.provider(account)
            batch_max = provider.batch_max if isinstance(provider, BatchProvider) else 1
            desk = Desk(
                key=key,
                account=account,
                concurrency=self._concurrency,
                batch_max=batch_max,
                spawn=self._spawn,
                turn=self._turn,
                deliver=self._deliver,
                put_back=self._put_back,
                keep_running=self._keep_running,
                freed=self._freed,
            )
            self._desks[key] = desk
            self._paces[key] = Pace(self._pool, self._clock)
        if account is not None and desk.account is not None:
            # Mails that were claimed before a change of the account are still about.
            desk.account = max(account, desk.account, key=lambda each: each.version)
        return desk

    async def _observe(self, desk: Desk) -> None:
        provider = self.provider(desk)
        told = provider.told if isinstance(provider, BatchProvider) else None
        if told is None or self._told.get(desk.key) == told:
            return
        await pacing.observe(
            self._pool, desk.key, limit=told.limit, window=told.window, now=self._clock.now()
        )
        self._told[desk.key] = told
        self._book.forget()


@asynccontextmanager
async def _or_not(*, messages: int) -> AsyncIterator[None]:
    """Gives back, if the database can. Else the day has less: no reason to hold up any mail."""
    try:
        async with asyncio.timeout(_GIVE_BACK_SECONDS):
            yield
    except (*DATABASE_UNABLE, asyncpg.PostgresError) as error:
        log.warning("pacing.not_given_back", messages=messages, reason=type(error).__name__)


def _closed_for(desk: Desk, refusal: RetryLater) -> timedelta:
    if desk.account is not None and refusal.fault in _PARKING:
        return min(_UNTIL_PARKED, _pause(refusal))
    return _pause(refusal)


def _pause(refusal: RetryLater) -> timedelta:
    return refusal.after or DEFAULT_PAUSE
