"""Senders as operators see them: in whose name a brand's mail leaves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_newsletter.catalog.brands import Brand
from mailement_newsletter.catalog.mail_accounts import find_mail_account
from mailement_newsletter.errors import AlreadyExists, InvalidSetting, NotFound
from mailement_newsletter.rules import names
from mailement_newsletter.rules.senders import (
    MailAccountId,
    MailAccountState,
    MailKind,
    SenderId,
    SenderState,
)
from mailement_newsletter.rules.warmup import Warmup, first_stage

SQL: Final = queries_beside(__file__)

_MAX_RANK: Final = 1_000
_MAX_DAILY: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderTerms:
    """What can be changed of a sender. `mail_account`: its name; None for the account of the settings.

    The lowest `rank` goes first, the next ones are its failover. `daily_limit` None: no limit of its own.
    """

    name: str
    reply_to: str | None = None
    kinds: Collection[MailKind] = tuple(MailKind)
    rank: int = 0
    mail_account: str | None = None
    daily_limit: int | None = None
    warmup: Warmup = Warmup.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """`warmup_day` counts the days that the warm-up made use of, from 0; `warmup_limit` is the present day's.

    `sent_today` counts against a limit, so it stays 0 where there is none; with a domain's warm-up it is the domain's.
    """

    id: SenderId
    brand: str
    name: str
    address: str
    reply_to: str | None
    kinds: Sequence[MailKind]
    rank: int
    mail_account: str | None
    daily_limit: int | None
    warmup: Warmup
    warmup_day: int | None
    warmup_limit: int | None
    sent_today: int
    state: SenderState
    created_at: datetime

    @property
    def terms(self) -> SenderTerms:
        return SenderTerms(
            name=self.name,
            reply_to=self.reply_to,
            kinds=self.kinds,
            rank=self.rank,
            mail_account=self.mail_account,
            daily_limit=self.daily_limit,
            warmup=self.warmup,
        )


async def create_sender(
    connection: Connection, brand: Brand, *, address: str, terms: SenderTerms
) -> SenderReport:
    """Raises AlreadyExists, InvalidName, InvalidSetting, NotFound (the mail account)."""
    stage = first_stage(terms.warmup)
    try:
        sender_id: int = await connection.fetchval(
            SQL["create"],
            brand.id,
            await _account_for(connection, brand.account, terms.mail_account),
            names.name(terms.name),
            names.sender_address(address),
            _reply_to(terms),
            _kinds(terms),
            _within("the rank", terms.rank, 0, _MAX_RANK),
            _daily_limit(terms),
            terms.warmup,
            None if stage is None else stage.limit,
        )
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(f"the brand has a sender {address!r} already") from error
    return await find_sender(connection, SenderId(sender_id))


async def list_senders(connection: Connection, brand: Brand | None = None) -> list[SenderReport]:
    """Of a brand, or of all, in the order in which they take over."""
    rows = await connection.fetch(SQL["list_all"], None if brand is None else brand.id, None)
    return [_sender(row) for row in rows]


async def find_sender(
    connection: Connection, sender_id: SenderId, brand: Brand | None = None
) -> SenderReport:
    """Raises NotFound."""
    row = await connection.fetchrow(SQL["list_all"], None if brand is None else brand.id, sender_id)
    if row is None:
        raise NotFound(f"there is no sender {sender_id}")
    return _sender(row)


async def update_sender(
    connection: Connection, brand: Brand, sender: SenderReport, terms: SenderTerms
) -> SenderReport:
    """Takes these terms instead. A warm-up that is chosen anew begins at its first day.

    Raises InvalidName, InvalidSetting, NotFound (the mail account).
    """
    stage = first_stage(terms.warmup)
    account = await _account_for(connection, brand.account, terms.mail_account)
    await connection.execute(
        SQL["update"],
        sender.id,
        account,
        names.name(terms.name),
        _reply_to(terms),
        _kinds(terms),
        _within("the rank", terms.rank, 0, _MAX_RANK),
        _daily_limit(terms),
        terms.warmup,
        None if stage is None else stage.limit,
    )
    return await find_sender(connection, sender.id)


async def set_sender_state(connection: Connection, sender: SenderReport, state: SenderState) -> SenderReport:
    """A paused sender gets no mail: the next in rank takes over, or the mails wait."""
    await connection.execute(SQL["set_state"], sender.id, state)
    return await find_sender(connection, sender.id)


async def _account_for(connection: Connection, owner: str, name: str | None) -> MailAccountId | None:
    """An account of the operator's, or of the brand's own account."""
    if name is None:
        return None
    account = await find_mail_account(connection, name)
    if account.account not in (None, owner):
        raise InvalidSetting(f"the mail account {name!r} belongs to another account")
    if account.state is MailAccountState.RETIRED:
        raise InvalidSetting(f"the mail account {name!r} is retired")
    return account.id


def _reply_to(terms: SenderTerms) -> str | None:
    return None if terms.reply_to is None else names.sender_address(terms.reply_to)


def _kinds(terms: SenderTerms) -> list[MailKind]:
    if not terms.kinds:
        raise InvalidSetting("a sender sends at least one kind of mail")
    return sorted(set(terms.kinds))


def _daily_limit(terms: SenderTerms) -> int | None:
    if terms.daily_limit is None:
        return None
    return _within("the daily limit", terms.daily_limit, 1, _MAX_DAILY)


def _within(what: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise InvalidSetting(f"{what} is a number from {least} to {most}")
    return value


def _sender(row: asyncpg.Record) -> SenderReport:
    return SenderReport(
        **{
            **dict(row),
            "kinds": [MailKind(kind) for kind in row["kinds"]],
            "warmup": Warmup(row["warmup"]),
            "state": SenderState(row["state"]),
        }
    )
