"""Accounts' desks: whose word on the rate counts, and which of them take batches once more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from mailement_common.ids import BrandId
from mailement_common.sealing import KeyRing
from mailement_mailer.accounts import Accounts
from mailement_mailer.desk import Desk, Unit
from mailement_mailer.mailbox import Mailbox
from mailement_mailer.providers.fleet import Fleet
from mailement_mailer.routes import Route, RouteBook
from mailement_mailer.settings import MailerSettings
from mailement_newsletter.rules.pacing import Bucket
from tests.support.database import Database
from tests.support.ledger import ScriptedProvider, SetClock
from tests.support.mails import KEYS

HOUSE = Mailbox(name="House", address="house@mail.example")
ROUTE = Route(
    brand_id=BrandId(1),
    sender_id=None,
    mailbox=HOUSE,
    reply_to=None,
    account=None,
    account_key="account:default",
    bucket=None,
    days=(),
    dkim=None,
)


@pytest.fixture
async def accounts(database: Database) -> AsyncIterator[Accounts]:
    """Of which the account of the settings is one; nothing is delivered."""
    clock = SetClock()
    settings = MailerSettings(
        database_url="postgresql://127.0.0.1/x", amqp_url="amqp://127.0.0.1", secret_keys=SecretStr(KEYS)
    )
    made = Accounts(
        database.pool,
        RouteBook(database.pool, KeyRing(KEYS), clock, house=HOUSE),
        Fleet(settings, ScriptedProvider(), clock),
        clock,
        concurrency=4,
        spawn=_never,
        deliver=_nothing,
        put_back=_nothing,
        keep_running=_once,
        freed=lambda: None,
    )
    yield made
    await made.close()


def _never(work: Coroutine[Any, Any, None]) -> object:
    raise AssertionError(work)


async def _nothing(_desk: Desk, _units: Unit | Sequence[Unit]) -> None:
    """Nobody asks for it."""


async def _once(loop: Callable[[], Awaitable[None]]) -> None:
    await loop()


async def test_mails_that_took_an_older_route_do_not_change_the_rate(accounts: Accounts) -> None:
    slow = Bucket(key=ROUTE.account_key, interval=timedelta(minutes=1))
    desk = accounts.paced(replace(ROUTE, bucket=slow))
    desk.await_turn(60)

    assert accounts.desk_of(ROUTE) is desk
    assert (desk.bucket, desk.is_resting) == (slow, True)

    accounts.paced(ROUTE)
    assert (desk.bucket, desk.is_resting) == (None, False)
