"""Which way a mail goes: from whom, through which account, how fast, and signed with what.

The rounds of claims (`rounds.py`) load the brands that they meet, choose the way of each kind of mail, and leave alone
what has none. Whoever changes what a choice rests on (a day that is used up, an account that parks) lets the book forget.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mailement_common.clock import Clock
from mailement_common.ids import BrandId
from mailement_common.sealing import CannotOpen, KeyRing
from mailement_mailer.batcher import Batcher
from mailement_mailer.mailbox import Mailbox, NotAMailbox
from mailement_mailer.providers.dkim import BadDkimKey, DkimKey, from_pem
from mailement_mailer.providers.fleet import AccountInUse
from mailement_mailer.text import one_line
from mailement_newsletter.queries.executor import Executor
from mailement_newsletter.queries.senders import (
    BrandRoutes,
    RouteAccount,
    SenderRoute,
    StoredDkimKey,
    dkim_owner,
    load_routes,
)
from mailement_newsletter.queries.warmups import advance_warmups
from mailement_newsletter.rules.mail_accounts import secret_owner
from mailement_newsletter.rules.pacing import Bucket, DayQuota, Want
from mailement_newsletter.rules.senders import (
    MailAccountId,
    MailAccountState,
    MailKind,
    Nobody,
    Sender,
    SenderId,
    Situation,
    account_key,
    choose,
    day_of,
    end_of_day,
)

# What an operator changes is known everywhere so many seconds later.
_FRESH: Final = timedelta(seconds=5)
# Where only an operator can help, and nobody knows when he will.
_LOOK_AGAIN: Final = timedelta(minutes=5)
_MOST_BRANDS: Final = 10_000
_MOST_KEYS: Final = 1_000
_ALL_OPEN: Final[Mapping[MailAccountId | None, datetime]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`sender_id` None: the brand has no senders, `mailbox` is its own words or those of the settings.

    `account` None: the account of the settings. `account_key` names the account in the pacing buckets, `bucket` is its
    rate, None for none. `dkim` None: the provider signs, or nobody.
    """

    brand_id: BrandId
    sender_id: SenderId | None
    mailbox: Mailbox
    reply_to: str | None
    account: AccountInUse | None
    account_key: str
    bucket: Bucket | None
    days: tuple[DayQuota, ...]
    dkim: DkimKey | None

    def want(self, *, mails: int) -> Want:
        """Shares of the day. The rate is for the desk, when a mail leaves."""
        return Want(mails=mails, days=self.days)


class WaitsFor(StrEnum):
    """`time`: a day or a rest ends by itself; `operator`: somebody has decided so; `repair`: something cannot be used."""

    TIME = "time"
    OPERATOR = "operator"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRoute:
    """Nobody may send for this brand and kind at present. A mail that can go no other way asks again at `until`."""

    until: datetime
    reason: str
    waits_for: WaitsFor = WaitsFor.TIME

    @property
    def stays_closed(self) -> bool:
        return self.waits_for is not WaitsFor.TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """What was read at `read_at`. The day's counts are those of that day, so no page outlives its day."""

    routes: BrandRoutes
    read_at: datetime
    fresh_until: datetime

    def way_of(self, sender_id: SenderId | None) -> SenderRoute | None:
        return next((way for way in self.routes.senders if way.sender.id == sender_id), None)


class _Unusable(Exception):
    """A route cannot be taken before an operator has mended it; the text says what, without secrets."""


class RouteBook:
    """The routes of brands, as they were a few seconds ago at most. `house` writes for brands without an address.

    `load` and `choose` raise what the database raises.
    """

    def __init__(self, executor: Executor, keys: KeyRing, clock: Clock, *, house: Mailbox) -> None:
        self._executor = executor
        self._keys = keys
        self._clock = clock
        self._house = house
        self._pages: dict[BrandId, _Page] = {}
        self._dkim: dict[int, DkimKey] = {}
        self._load = Batcher(self._load_all)

    async def load(self, brand_ids: Iterable[BrandId]) -> None:
        """Learns the routes of these brands, as far as they are not known."""
        await asyncio.gather(
            *(self._load(brand_id) for brand_id in set(brand_ids) if self._page(brand_id) is None)
        )

    async def choose(
        self, brand_id: BrandId, kind: MailKind, closed: Mapping[MailAccountId | None, datetime] = _ALL_OPEN
    ) -> Route | NoRoute:
        """The way of a mail that is about to be sent. `closed`: accounts that this mailer has found shut, until then."""
        page = self._page(brand_id) or await self._load(brand_id)
        if page is None:
            return _closed("there is no such brand", self._clock.now())
        try:
            if not page.routes.senders:
                return self._default_route(page.routes)
            return self._route_of_senders(page.routes, kind, page.read_at, closed)
        except _Unusable as fault:
            return _closed(str(fault), page.read_at, WaitsFor.REPAIR)

    async def way_back(
        self, brand_id: BrandId, sender_id: SenderId | None, account_id: MailAccountId | None
    ) -> Route | NoRoute:
        """The way that a mail took before, whoever is first in rank by now. It took its share of the day then."""
        page = self._page(brand_id) or await self._load(brand_id)
        now = self._clock.now()
        if page is None:
            return _closed("there is no such brand", now)
        try:
            if sender_id is None:
                return self._default_route(page.routes)
            way = page.way_of(sender_id)
            if way is None or way.sender.account_id != account_id:
                return _closed("the sender is not there any more", now)
            if way.account is not None and way.account.state is not MailAccountState.ACTIVE:
                return _closed("the mail account is paused or retired", now)
            parked_until = None if way.account is None else way.account.parked_until
            if parked_until is not None and parked_until > now:
                return NoRoute(until=parked_until, reason="the mail account is parked")
            return replace(self._route(page.routes, way, page.read_at), days=())
        except _Unusable as fault:
            return _closed(str(fault), now, WaitsFor.REPAIR)

    async def days_of(
        self, brand_id: BrandId, sender_id: SenderId | None, moment: datetime
    ) -> tuple[DayQuota, ...]:
        """What a mail of this sender took a share of, at that moment; nothing if the sender is not there any more."""
        page = self._page(brand_id) or await self._load(brand_id)
        way = None if page is None else page.way_of(sender_id)
        return () if way is None else _days(way.sender, moment)

    def forget(self, brand_id: BrandId | None = None) -> None:
        """Something has changed: look again, at once."""
        if brand_id is None:
            self._pages.clear()
        else:
            self._pages.pop(brand_id, None)

    async def close(self) -> None:
        await self._load.close()

    def _page(self, brand_id: BrandId) -> _Page | None:
        page = self._pages.get(brand_id)
        return page if page is not None and self._clock.now() < page.fresh_until else None

    async def _load_all(self, brand_ids: Sequence[BrandId]) -> list[_Page | None]:
        now = self._clock.now()
        found = await self._read(set(brand_ids), now)
        behind = [
            route.sender.id
            for routes in found.values()
            for route in routes.senders
            if route.warmup_on is not None and route.warmup_on < day_of(now)
        ]
        if behind:
            await advance_warmups(self._executor, behind, day_of(now))
            found = await self._read(set(brand_ids), now)
        if len(self._pages) > _MOST_BRANDS:
            self._pages.clear()
        fresh_until = min(now + _FRESH, end_of_day(now))
        pages = {
            brand_id: _Page(routes=routes, read_at=now, fresh_until=fresh_until)
            for brand_id, routes in found.items()
        }
        self._pages.update(pages)
        return [pages.get(brand_id) for brand_id in brand_ids]

    async def _read(self, brand_ids: set[BrandId], now: datetime) -> dict[BrandId, BrandRoutes]:
        return await load_routes(self._executor, list(brand_ids), now=now, house_domain=self._house.domain)

    def _default_route(self, routes: BrandRoutes) -> Route:
        if routes.sender_address:
            name, address = routes.sender_name or routes.brand_name, routes.sender_address
        else:
            name, address = routes.sender_name or self._house.name, self._house.address
        return Route(
            brand_id=routes.brand_id,
            sender_id=None,
            mailbox=_mailbox(name, address),
            reply_to=None,
            account=None,
            account_key=account_key(None),
            bucket=routes.default_bucket,
            days=(),
            dkim=self._signing_key(routes.default_dkim),
        )

    def _route_of_senders(
        self,
        routes: BrandRoutes,
        kind: MailKind,
        now: datetime,
        closed: Mapping[MailAccountId | None, datetime],
    ) -> Route | NoRoute:
        situation = _situation(routes.senders, now, closed)
        chosen = choose([route.sender for route in routes.senders], kind, situation)
        if isinstance(chosen, Nobody):
            if chosen.until is None:
                return _closed(chosen.reason, now)
            return NoRoute(until=chosen.until, reason=chosen.reason)
        way = next(route for route in routes.senders if route.sender.id == chosen.id)
        return self._route(routes, way, now)

    def _route(self, routes: BrandRoutes, way: SenderRoute, now: datetime) -> Route:
        sender = way.sender
        return Route(
            brand_id=routes.brand_id,
            sender_id=sender.id,
            mailbox=_mailbox(sender.name, sender.address),
            reply_to=sender.reply_to,
            account=None if way.account is None else self._in_use(way.account),
            account_key=account_key(sender.account_id),
            bucket=way.bucket,
            days=_days(sender, now),
            dkim=self._signing_key(way.dkim),
        )

    def _in_use(self, account: RouteAccount) -> AccountInUse:
        return AccountInUse(
            id=account.id,
            version=account.version,
            provider=account.provider,
            settings=account.settings,
            secret=self._opened(account.secret_sealed, secret_owner(account.id)),
        )

    def _signing_key(self, stored: StoredDkimKey | None) -> DkimKey | None:
        """Better late than unsigned: a key that cannot be used stops the mail. A key never changes under its id."""
        if stored is None:
            return None
        if (known := self._dkim.get(stored.id)) is not None:
            return known
        pem = self._opened(stored.private_key_sealed, dkim_owner(stored.id))
        assert pem is not None
        try:
            key = from_pem(pem.encode(), domain=stored.domain, selector=stored.selector)
        except BadDkimKey as fault:
            raise _Unusable(f"the DKIM key {stored.id} cannot be used: {fault}") from fault
        if len(self._dkim) >= _MOST_KEYS:
            self._dkim.clear()
        self._dkim[stored.id] = key
        return key

    def _opened(self, sealed: str | None, owner: str) -> str | None:
        try:
            return None if sealed is None else self._keys.open(sealed, owner=owner)
        except CannotOpen as fault:
            raise _Unusable(str(fault)) from fault


def _days(sender: Sender, moment: datetime) -> tuple[DayQuota, ...]:
    return tuple(
        DayQuota(key=key, day=day_of(moment), limit=limit) for key, limit in sender.day_limits.items()
    )


def _closed(reason: str, now: datetime, waits_for: WaitsFor = WaitsFor.OPERATOR) -> NoRoute:
    return NoRoute(until=now + _LOOK_AGAIN, reason=reason, waits_for=waits_for)


def _situation(
    routes: Sequence[SenderRoute], now: datetime, closed: Mapping[MailAccountId | None, datetime]
) -> Situation:
    accounts = {route.account.id: route.account for route in routes if route.account is not None}
    return Situation(
        now=now,
        accounts_out=frozenset(
            account.id for account in accounts.values() if account.state is not MailAccountState.ACTIVE
        ),
        parked_until={
            **closed,
            **{
                account.id: max(account.parked_until, closed.get(account.id, now))
                for account in accounts.values()
                if account.parked_until is not None
            },
        },
        used={key: mails for route in routes for key, mails in route.used.items()},
    )


def _mailbox(name: str, address: str) -> Mailbox:
    try:
        return Mailbox(name=one_line(name), address=address)
    except NotAMailbox as fault:
        raise _Unusable(f"sender: {fault}") from fault
