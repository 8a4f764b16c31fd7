"""Mail accounts: the relays and APIs that senders send through. Secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId
from mailement_common.sealing import KeyRing
from mailement_newsletter.errors import AlreadyExists, InvalidSetting, NotFound
from mailement_newsletter.rules import names
from mailement_newsletter.rules.mail_accounts import (
    AccountProvider,
    checked,
    secret_owner,
    takes_secret,
)
from mailement_newsletter.rules.senders import MailAccountId, MailAccountState

SQL: Final = queries_beside(__file__)

_MAX_RATE: Final = 100_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MailAccount:
    """`account` None: the operator's, for the senders of every account. `per_second` None: no limit of ours.

    `silent_until` and `told_per_second` are what the provider asked for and told of itself.
    """

    id: MailAccountId
    account: str | None
    name: str
    provider: AccountProvider
    settings: Mapping[str, Any]
    has_secret: bool
    per_second: float | None
    state: MailAccountState
    parked_until: datetime | None
    parked_reason: str | None
    silent_until: datetime | None
    told_per_second: float | None
    version: int
    senders: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMailAccount:
    """`secret`: the password or API key, where the provider needs one."""

    name: str
    provider: AccountProvider
    settings: Mapping[str, Any]
    account_id: AccountId | None = None
    per_second: float | None = None


async def create_mail_account(
    connection: Connection, keys: KeyRing, new: NewMailAccount, *, secret: str | None
) -> MailAccount:
    """Raises AlreadyExists, InvalidName, InvalidSetting."""
    settings = checked(new.provider, new.settings, has_secret=secret is not None)
    try:
        async with connection.transaction():
            account_id = MailAccountId(
                await connection.fetchval(
                    SQL["create"],
                    new.account_id,
                    names.slug(new.name),
                    new.provider,
                    settings,
                    _rate(new.per_second),
                )
            )
            if secret is not None:
                sealed = keys.seal(secret, owner=secret_owner(account_id))
                await connection.execute(SQL["set_secret"], account_id, sealed)
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(f"there is a mail account {new.name!r} already") from error
    return await find_mail_account(connection, new.name)


async def list_mail_accounts(connection: Connection) -> list[MailAccount]:
    return [_account(row) for row in await connection.fetch(SQL["list_all"], None)]


async def find_mail_account(connection: Connection, name: str) -> MailAccount:
    """Raises NotFound."""
    row = await connection.fetchrow(SQL["list_all"], name)
    if row is None:
        raise NotFound(f"there is no mail account {name!r}")
    return _account(row)


async def update_mail_account(
    connection: Connection,
    keys: KeyRing,
    account: MailAccount,
    *,
    settings: Mapping[str, Any],
    per_second: float | None,
    secret: str | None = None,
) -> MailAccount:
    """Takes these settings and this rate instead; the secret stays if none is given, as long as there is a use for it.

    Raises InvalidSetting, also for a retired account.
    """
    _refuse_retired(account)
    keeps = secret is not None or (account.has_secret and takes_secret(account.provider, settings))
    settings = checked(account.provider, settings, has_secret=keeps)
    sealed = None if secret is None else keys.seal(secret, owner=secret_owner(account.id))
    await connection.execute(SQL["update"], account.id, settings, _rate(per_second), sealed, keeps)
    return await find_mail_account(connection, account.name)


async def set_mail_account_state(
    connection: Connection, account: MailAccount, state: MailAccountState
) -> MailAccount:
    """Paused and retired accounts get no mail. Raises InvalidSetting: what is retired stays so."""
    if await connection.fetchval(SQL["set_state"], account.id, state) is None:
        _refuse_retired(account)
    return await find_mail_account(connection, account.name)


def _refuse_retired(account: MailAccount) -> None:
    if account.state is MailAccountState.RETIRED:
        raise InvalidSetting(f"the mail account {account.name!r} is retired, and stays so")


def _rate(per_second: float | None) -> float | None:
    if per_second is not None and not 0 < per_second <= _MAX_RATE:
        raise InvalidSetting(f"a rate is more than 0 and at most {_MAX_RATE:.0f} mails a second")
    return per_second


def _account(row: asyncpg.Record) -> MailAccount:
    return MailAccount(
        **{
            **dict(row),
            "provider": AccountProvider(row["provider"]),
            "state": MailAccountState(row["state"]),
        }
    )
