"""Senders and mail accounts as the mailer needs them: the routes of its brands, and accounts that have to rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.queries.executor import Executor
from mailement_newsletter.rules.mail_accounts import AccountProvider
from mailement_newsletter.rules.pacing import Bucket, bucket_for
from mailement_newsletter.rules.senders import (
    MailAccountId,
    MailAccountState,
    MailKind,
    Sender,
    SenderId,
    SenderState,
    account_key,
    day_of,
    sender_key,
)
from mailement_newsletter.rules.warmup import Warmup

SQL: Final = queries_beside(__file__)

_SECOND: Final = timedelta(seconds=1)
# Where the row of the bucket knows better.
_ANY_BURST: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDkimKey:
    """`private_key_sealed` is opened by who signs, as `dkim_owner(id)`."""

    id: int
    domain: str
    selector: str
    algorithm: str
    private_key_sealed: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteAccount:
    """A mail account as the fleet needs it. `version` counts its changes; the secret is opened by the fleet."""

    id: MailAccountId
    version: int
    provider: AccountProvider
    settings: Mapping[str, Any]
    secret_sealed: str | None = field(repr=False)
    state: MailAccountState
    parked_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderRoute:
    """`account` None: the account of the settings; `bucket` None: nobody limits it. `used`: of the day, by the keys of `sender.day_limits`.

    `warmup_on`: the day that its warm-up was last set for.
    """

    sender: Sender
    account: RouteAccount | None
    bucket: Bucket | None
    dkim: StoredDkimKey | None
    used: Mapping[str, int]
    warmup_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandRoutes:
    """Without `senders`, mail goes through the account of the settings, with `default_bucket` and `default_dkim`."""

    brand_id: BrandId
    brand_name: str
    sender_name: str | None
    sender_address: str | None
    senders: Sequence[SenderRoute]
    default_bucket: Bucket | None
    default_dkim: StoredDkimKey | None


async def load_routes(
    executor: Executor, brand_ids: Sequence[BrandId], *, now: datetime, house_domain: str
) -> dict[BrandId, BrandRoutes]:
    """The routes of these brands, in one statement. `house_domain`: of brands that have no address of their own."""
    rows = await executor.fetch(SQL["load_routes"], list(set(brand_ids)), day_of(now), house_domain, now)
    by_brand: dict[BrandId, list[asyncpg.Record]] = {}
    for row in rows:
        by_brand.setdefault(BrandId(row["brand_id"]), []).append(row)
    return {brand_id: _routes(brand_id, found) for brand_id, found in by_brand.items()}


async def park(executor: Executor, account_id: MailAccountId, *, until: datetime, reason: str) -> bool:
    """Hands nothing to an account until then; a longer rest is not cut short. False: there is no such account."""
    return await executor.fetchval(SQL["park"], account_id, until, reason) is not None


async def unpark(executor: Executor, account_id: MailAccountId) -> bool:
    """False: there is no such account."""
    return await executor.fetchval(SQL["unpark"], account_id) is not None


async def note_returns(
    executor: Executor, sender_id: SenderId, *, sent_at: datetime, bounced: int = 0, complained: int = 0
) -> None:
    """Counts bounces and complaints against the day that the mails were sent on; a warm-up slows down for them."""
    await executor.execute(SQL["note_returns"], sender_id, day_of(sent_at), bounced, complained)


def dkim_owner(key_id: int) -> str:
    """What a DKIM key is sealed for."""
    return f"dkim:{key_id}"


def _routes(brand_id: BrandId, rows: Sequence[asyncpg.Record]) -> BrandRoutes:
    first = rows[0]
    own = first["sender_id"] is not None
    return BrandRoutes(
        brand_id=brand_id,
        brand_name=first["brand_name"],
        sender_name=first["brand_sender_name"],
        sender_address=first["brand_sender_address"],
        senders=[_sender_route(brand_id, row) for row in rows] if own else [],
        default_bucket=None if own else _bucket(first),
        default_dkim=None if own else _dkim(first),
    )


def _sender_route(brand_id: BrandId, row: asyncpg.Record) -> SenderRoute:
    sender = Sender(
        id=SenderId(row["sender_id"]),
        brand_id=brand_id,
        account_id=_account_id(row),
        name=row["name"],
        address=row["address"],
        reply_to=row["reply_to"],
        kinds=frozenset(MailKind(kind) for kind in row["kinds"]),
        rank=row["rank"],
        state=SenderState(row["state"]),
        daily_limit=row["daily_limit"],
        warmup=Warmup(row["warmup"]),
        warmup_limit=row["warmup_limit"],
    )
    used = {sender_key(sender.id): row["used"] or 0}
    if sender.warmup is Warmup.DOMAIN:
        used[sender.warmup_key] = row["warmup_used"] or 0
    return SenderRoute(
        sender=sender,
        account=_account(row),
        bucket=_bucket(row),
        dkim=_dkim(row),
        used=used,
        warmup_on=row["warmup_on"],
    )


def _account_id(row: asyncpg.Record) -> MailAccountId | None:
    return None if row["mail_account_id"] is None else MailAccountId(row["mail_account_id"])


def _account(row: asyncpg.Record) -> RouteAccount | None:
    account_id = _account_id(row)
    if account_id is None:
        return None
    return RouteAccount(
        id=account_id,
        version=row["account_version"],
        provider=AccountProvider(row["provider"]),
        settings=row["settings"],
        secret_sealed=row["secret_sealed"],
        state=MailAccountState(row["account_state"]),
        parked_until=row["parked_until"],
    )


def _bucket(row: asyncpg.Record) -> Bucket | None:
    """The operator's limit and what the provider told or had to ask for."""
    key = account_key(_account_id(row))
    if row["per_second"] is not None:
        own = bucket_for(key, limit=row["per_second"], window=_SECOND)
    elif row["paced"]:
        own = Bucket(key=key, burst=_ANY_BURST)
    else:
        return None
    told = timedelta(seconds=row["told_interval"] or 0)
    return replace(own, interval=max(own.interval, told), share=row["share"])


def _dkim(row: asyncpg.Record) -> StoredDkimKey | None:
    if row["dkim_id"] is None:
        return None
    return StoredDkimKey(
        id=row["dkim_id"],
        domain=row["dkim_domain"],
        selector=row["dkim_selector"],
        algorithm=row["dkim_algorithm"],
        private_key_sealed=row["dkim_key_sealed"],
    )
