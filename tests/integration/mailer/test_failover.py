"""Several senders and accounts: who takes over, what stays where it went out, and what nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from mailement_common.sealing import KeyRing
from mailement_mailer.providers.port import Fault, RetryLater
from mailement_newsletter.catalog.brands import find_brand
from mailement_newsletter.catalog.mail_accounts import NewMailAccount, create_mail_account
from mailement_newsletter.catalog.senders import SenderTerms, create_sender
from mailement_newsletter.queries.senders import unpark
from mailement_newsletter.rules.mail_accounts import AccountProvider
from mailement_newsletter.rules.senders import MailAccountId
from tests.support.database import Database
from tests.support.fake_resend import API_KEY, FakeResend, fake_resend
from tests.support.ledger import (
    Ledger,
    ScriptedProvider,
    SetClock,
    a_mailroom,
    new_ledger,
    running,
    until,
    until_finished,
)
from tests.support.mails import KEYS, NOON


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await new_ledger(database.pool)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def first(ledger: Ledger) -> AsyncIterator[FakeResend]:
    async with resend_sender(ledger, "first", rank=1) as fake:
        yield fake


@pytest.fixture
async def second(ledger: Ledger, first: FakeResend) -> AsyncIterator[FakeResend]:
    async with resend_sender(ledger, "second", rank=2) as fake:
        yield fake


def resend_sender(ledger: Ledger, name: str, **terms: Any) -> _ResendSender:
    return _ResendSender(ledger, name, terms)


class _ResendSender:
    """A sender of the brand with a Resend account of its own, for as long as the block lasts."""

    def __init__(self, ledger: Ledger, name: str, terms: dict[str, Any]) -> None:
        self._ledger = ledger
        self._name = name
        self._terms = terms
        self._fake = fake_resend()

    async def __aenter__(self) -> FakeResend:
        fake = await self._fake.__aenter__()
        account = NewMailAccount(name=self._name, provider=AccountProvider.RESEND, settings={"url": fake.url})
        async with self._ledger.pool.acquire() as connection:
            await create_mail_account(connection, KeyRing(KEYS), account, secret=API_KEY)
            brand = await find_brand(connection, "acme")
            await create_sender(
                connection,
                brand,
                address=f"{self._name}@acme.example",
                terms=SenderTerms(name="Acme", mail_account=self._name, **self._terms),
            )
        return fake

    async def __aexit__(self, *details: object) -> None:
        await self._fake.__aexit__(*details)  # type: ignore[arg-type]


async def test_the_first_sender_in_rank_sends(
    ledger: Ledger, clock: SetClock, first: FakeResend, second: FakeResend
) -> None:
    sent = await ledger.messages(3)
    own = ScriptedProvider()
    async with running(a_mailroom(ledger.pool, own, clock)):
        await until_finished(ledger, sent)
    assert (len(first.mails), len(second.mails), len(own.mails)) == (3, 0, 0)
    assert first.mails[0]["from"] == '"Acme" <first@acme.example>'
    row = await ledger.row(sent[0])
    assert (row["sender_id"], row["mail_account_id"], row["provider"]) == (1, 1, "resend")


@pytest.mark.parametrize(
    ("status", "name", "hours"),
    [(429, "daily_quota_exceeded", 1), (401, "restricted_api_key", 0), (403, "invalid_api_key", 0)],
)
async def test_the_next_sender_takes_the_mails_of_an_account_that_parks(
    ledger: Ledger, clock: SetClock, first: FakeResend, second: FakeResend, status: int, name: str, hours: int
) -> None:
    sent = await ledger.messages(12)
    first.refusals += [(status, name, {})] * 50
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until_finished(ledger, sent)
    assert (len(first.mails), len(second.mails)) == (0, 12)
    assert second.mails[0]["from"] == '"Acme" <second@acme.example>'
    account = await ledger.pool.fetchrow("SELECT parked_until, parked_reason FROM mail_accounts WHERE id = 1")
    assert account is not None
    assert account["parked_until"] - NOON >= timedelta(hours=hours)
    assert name in account["parked_reason"]
    assert await ledger.attempts(sent[0]) == [(1, "retry", str(status)), (2, "sent", None)]


async def test_an_account_that_is_unparked_sends_again(
    ledger: Ledger, clock: SetClock, first: FakeResend
) -> None:
    sent = await ledger.messages(3)
    first.refuse_next(429, "monthly_quota_exceeded")
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until(lambda: _is_parked(ledger), what="the account is parked")
        await unpark(ledger.pool, MailAccountId(1))
        clock.advance(timedelta(seconds=5))
        await until_finished(ledger, sent)
    assert len(first.mails) == 3


@pytest.mark.parametrize("fault", [Fault.AUTH, Fault.QUOTA, Fault.RELAY])
async def test_the_next_sender_takes_over_from_the_account_of_the_settings(
    ledger: Ledger, clock: SetClock, fault: Fault
) -> None:
    refused = RetryLater(reason="no", after=timedelta(hours=1), provider_wide=True, fault=fault)
    async with resend_sender(ledger, "second", rank=2) as second:
        await _sender_on_the_settings_account(ledger)
        sent = await ledger.messages(3)
        async with running(a_mailroom(ledger.pool, ScriptedProvider(outcome=refused), clock)):
            await until_finished(ledger, sent)
        assert len(second.mails) == 3


async def test_too_much_at_once_moves_no_mail_to_the_next_sender(ledger: Ledger, clock: SetClock) -> None:
    refused = RetryLater(reason="no", after=timedelta(seconds=1), provider_wide=True, fault=Fault.RATE)
    own = ScriptedProvider(outcome=refused)
    async with resend_sender(ledger, "second", rank=2) as second:
        await _sender_on_the_settings_account(ledger)
        sent = await ledger.messages(3)
        async with running(a_mailroom(ledger.pool, own, clock)):
            await until(lambda: _is_slowed_down(ledger), what="the first account asked for silence")
            own.outcome = ScriptedProvider().outcome
            clock.advance(timedelta(seconds=5))
            await until_finished(ledger, sent)
        assert second.mails == []


async def test_the_next_sender_takes_over_from_an_account_out_of_reach(
    ledger: Ledger, clock: SetClock, second: FakeResend
) -> None:
    nobody = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = nobody.sockets[0].getsockname()[1]
    nobody.close()
    await nobody.wait_closed()
    await ledger.pool.execute(
        "UPDATE mail_accounts SET settings = jsonb_build_object('url', $1::text) WHERE id = 1",
        f"http://127.0.0.1:{port}",
    )
    sent = await ledger.messages(3)
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until_finished(ledger, sent)
    assert len(second.mails) == 3
    assert not await _is_parked(ledger), "other mailers may reach it"


async def test_a_mail_that_may_have_arrived_stays_with_its_account(
    ledger: Ledger, clock: SetClock, first: FakeResend, second: FakeResend
) -> None:
    (message,) = await ledger.messages(1)
    first.break_after_taking = True
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until(lambda: _tried(ledger, message), what="the unclear attempt is recorded")
    first.break_after_taking = False
    await ledger.pool.execute(
        "UPDATE mail_accounts SET parked_until = $1, parked_reason = 'quota' WHERE id = 1",
        NOON + timedelta(hours=1),
    )
    clock.advance(timedelta(minutes=5))
    (other,) = [await ledger.message(await ledger.subscriber("other"))]
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until_finished(ledger, [other])
        await until(
            lambda: _waits_until(ledger, message, NOON + timedelta(hours=1)), what="it waits for the account"
        )
        clock.advance(timedelta(hours=1))
        await until_finished(ledger, [message])
    assert (len(first.mails), len(second.mails)) == (1, 1), "one through each, none twice"
    row = await ledger.row(message)
    assert (row["state"], row["mail_account_id"]) == ("sent", 1)


async def test_a_mail_that_may_have_arrived_is_uncertain_when_its_closed_account_has_forgotten_it(
    ledger: Ledger, clock: SetClock, first: FakeResend, second: FakeResend
) -> None:
    (message,) = await ledger.messages(1)
    first.break_after_taking = True
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until(lambda: _tried(ledger, message), what="the unclear attempt is recorded")
    await ledger.pool.execute("UPDATE mail_accounts SET state = 'paused' WHERE id = 1")
    clock.advance(timedelta(minutes=1))
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until(
            lambda: _waits_until(ledger, message, clock.now() + timedelta(minutes=5)), what="it waits"
        )
        clock.advance(timedelta(hours=23))
        await until_finished(ledger, [message])
    row = await ledger.row(message)
    assert (row["state"], row["error"]) == (
        "uncertain",
        "it may have arrived, and the provider does not know its key any more",
    )
    assert len(second.mails) == 0


async def test_a_mail_that_has_certainly_not_arrived_leaves_a_closed_account(
    ledger: Ledger, clock: SetClock, first: FakeResend, second: FakeResend
) -> None:
    (message,) = await ledger.messages(1)
    first.refuse_next(403, "validation_error")
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until(lambda: _tried(ledger, message), what="it was refused")
    await ledger.pool.execute("UPDATE mail_accounts SET state = 'paused' WHERE id = 1")
    clock.advance(timedelta(minutes=2))
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until_finished(ledger, [message])
    assert (await ledger.state(message), len(second.mails)) == ("sent", 1)


async def test_the_share_of_a_day_that_a_mail_took_on_its_closed_way_is_given_back(
    ledger: Ledger, clock: SetClock
) -> None:
    async with (
        resend_sender(ledger, "limited", rank=1, daily_limit=4) as limited,
        resend_sender(ledger, "other", rank=2) as other,
    ):
        (message,) = await ledger.messages(1)
        limited.refuse_next(403, "validation_error")
        async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
            await until(lambda: _tried(ledger, message), what="it was refused")
        assert await _used_of_the_first(ledger) == 1
        await ledger.pool.execute("UPDATE mail_accounts SET state = 'paused' WHERE id = 1")
        clock.advance(timedelta(minutes=2))
        async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
            await until_finished(ledger, [message])
        assert (len(limited.mails), len(other.mails)) == (0, 1)
        assert await _used_of_the_first(ledger) == 0


async def test_a_frozen_mail_waits_out_a_rest_of_its_account(ledger: Ledger, clock: SetClock) -> None:
    """By now another sender is the first in rank; the account of the old one is asked for silence by the mail of others."""
    own = ScriptedProvider(outcome=RetryLater(reason="greylisted"))
    await _sender_on_the_settings_account(ledger)
    async with resend_sender(ledger, "second", rank=2) as second:
        (message,) = await ledger.messages(1)
        async with running(a_mailroom(ledger.pool, own, clock)):
            await until(lambda: _tried(ledger, message), what="it was refused")
            await ledger.pool.execute("UPDATE senders SET rank = 0 WHERE id = 2")
            own.outcome = RetryLater(
                reason="too fast", after=timedelta(seconds=2), provider_wide=True, fault=Fault.RATE
            )
            other = await _of_another_brand(ledger)
            await until(lambda: _is_slowed_down(ledger), what="the account rests")
            own.outcome = ScriptedProvider().outcome
            clock.advance(timedelta(minutes=1))
            await until_finished(ledger, [message, other])
        assert second.mails == []
        once, again = (mail for mail in own.mails if mail.sender.address == "own@acme.example")
        assert once == again


async def test_when_all_are_parked_the_mails_wait_untouched(
    ledger: Ledger, clock: SetClock, first: FakeResend
) -> None:
    sent = await ledger.messages(3)
    await ledger.pool.execute("UPDATE mail_accounts SET parked_until = $1", NOON + timedelta(hours=1))
    before = await ledger.pool.fetch("SELECT id, xmin::text FROM messages ORDER BY id")
    room = a_mailroom(ledger.pool, ScriptedProvider(), clock)
    async with running(room):
        other = await _of_another_brand(ledger)
        room.wake()
        await until_finished(ledger, [other])
        after = await ledger.pool.fetch(
            "SELECT id, xmin::text FROM messages WHERE id <> $1 ORDER BY id", other
        )
        assert before == after, "a row that waits is not rewritten"
        clock.advance(timedelta(hours=1, seconds=10))
        await until_finished(ledger, sent)
    assert len(first.mails) == 3


async def test_a_day_that_is_used_up_goes_on_with_the_next_sender(ledger: Ledger, clock: SetClock) -> None:
    async with (
        resend_sender(ledger, "small", rank=1, daily_limit=4) as small,
        resend_sender(ledger, "large", rank=2) as large,
    ):
        sent = await ledger.messages(10)
        async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
            await until_finished(ledger, sent)
        assert (len(small.mails), len(large.mails)) == (4, 6)
    assert await _used_of_the_first(ledger) == 4


async def test_a_days_share_that_no_mail_used_is_given_back(ledger: Ledger, clock: SetClock) -> None:
    async with resend_sender(ledger, "small", daily_limit=4) as small:
        good = await ledger.message(await ledger.subscriber("good"))
        bad = await ledger.message(await ledger.subscriber("bad"))
        await ledger.pool.execute("UPDATE subscribers SET status = 'bounced' WHERE first_name = 'bad'")
        async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
            await until_finished(ledger, [good, bad])
        assert len(small.mails) == 1
        assert await _used_of_the_first(ledger) == 1


async def test_an_account_that_never_answers_holds_up_nobody_else(
    ledger: Ledger, clock: SetClock, first: FakeResend
) -> None:
    """The first account takes mails and says nothing; another brand goes by the account of the settings."""
    first.slow = asyncio.Event()
    stuck = await ledger.messages(300)
    own = ScriptedProvider()
    async with running(a_mailroom(ledger.pool, own, clock)):
        await until(lambda: _holds(first.requests > 0), what="the first account is busy")
        other = await _of_another_brand(ledger)
        await until_finished(ledger, [other])
        assert len(own.mails) == 1
        first.slow.set()
        await until_finished(ledger, stuck)


async def test_trouble_of_one_account_is_told(ledger: Ledger, clock: SetClock, first: FakeResend) -> None:
    await ledger.messages(1)
    first.refusals += [(401, "restricted_api_key", {})] * 50
    room = a_mailroom(ledger.pool, ScriptedProvider(outcome=RetryLater(reason="never asked")), clock)
    async with running(room):
        await until(lambda: _holds(room.trouble is not None), what="the trouble is told")
    assert room.trouble is not None
    assert "restricted_api_key" in room.trouble


async def _sender_on_the_settings_account(ledger: Ledger) -> None:
    async with ledger.pool.acquire() as connection:
        brand = await find_brand(connection, "acme")
        await create_sender(
            connection, brand, address="own@acme.example", terms=SenderTerms(name="Acme", rank=1)
        )


async def _used_of_the_first(ledger: Ledger) -> int:
    used: int = await ledger.pool.fetchval("SELECT used FROM sending_days WHERE key = 'sender:1'")
    return used


async def _is_parked(ledger: Ledger) -> bool:
    return bool(await ledger.pool.fetchval("SELECT parked_until IS NOT NULL FROM mail_accounts WHERE id = 1"))


async def _is_slowed_down(ledger: Ledger) -> bool:
    return bool(
        await ledger.pool.fetchval("SELECT count(*) FROM pacing_buckets WHERE shut_until IS NOT NULL")
    )


async def test_a_secret_that_cannot_be_opened_is_told_and_nothing_is_sent(
    ledger: Ledger, clock: SetClock, first: FakeResend, second: FakeResend
) -> None:
    await ledger.messages(1)
    await ledger.pool.execute("UPDATE mail_accounts SET secret_sealed = 'damaged' WHERE id = 1")
    room = a_mailroom(ledger.pool, ScriptedProvider(), clock)
    async with running(room):
        await until(lambda: _holds(room.trouble is not None), what="the trouble is told")
    assert room.trouble is not None
    assert room.trouble.startswith(f"brand {ledger.brand_id}: ")
    assert await ledger.states() == {"queued": 1}


async def _of_another_brand(ledger: Ledger) -> int:
    other = await ledger.another_brand()
    return await other.message(await other.subscriber("other"))


async def _holds(fact: bool) -> bool:
    return fact


async def _tried(ledger: Ledger, message: int) -> bool:
    row = await ledger.row(message)
    return row["tries"] == 1 and row["lease_token"] is None


async def _waits_until(ledger: Ledger, message: int, moment: Any) -> bool:
    return bool((await ledger.row(message))["not_before"] == moment)
