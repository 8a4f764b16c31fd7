"""Several mails in one request: frozen together, repeated together, and told apart in the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from mailement_common.ids import BrandId
from mailement_mailer.providers.resend import ResendProvider
from mailement_newsletter.commands import ById
from mailement_newsletter.usecases.leave import unsubscribe
from tests.support.database import Database
from tests.support.fake_resend import API_KEY, FakeResend, fake_resend
from tests.support.ledger import (
    Ledger,
    SetClock,
    a_mailroom,
    killed,
    new_ledger,
    running,
    until,
    until_finished,
)


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await new_ledger(database.pool)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def fake() -> AsyncIterator[FakeResend]:
    async with fake_resend() as fake:
        yield fake


@pytest.fixture
async def resend(fake: FakeResend) -> AsyncIterator[ResendProvider]:
    provider = ResendProvider(url=fake.url, api_key=API_KEY, connections=4)
    yield provider
    await provider.close()


async def test_what_is_due_together_goes_out_together(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    sent = await ledger.messages(250)
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until_finished(ledger, sent)
    assert await ledger.states() == {"sent": 250}
    assert sorted(mail["to"][0] for mail in fake.mails) == sorted(
        f"reader{n}@example.org" for n in range(250)
    )
    assert fake.requests < 25
    ids = await ledger.pool.fetch("SELECT provider_message_id FROM messages")
    assert len({row["provider_message_id"] for row in ids}) == 250
    assert await ledger.attempts(sent[0]) == [(1, "sent", None)]


async def test_a_single_mail_goes_under_its_own_key(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    message = await ledger.message(await ledger.subscriber(), key="drip:1:1")
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until_finished(ledger, [message])
    assert fake.keys == ["drip:1:1"]
    assert (await ledger.row(message))["batch_id"] is None


async def test_one_bad_mail_of_a_batch_fails_alone(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    fake.refuse_examples = True
    good = await ledger.messages(4)
    await ledger.pool.execute("UPDATE subscribers SET email_key = 'x@example.com' WHERE id = 2")
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until_finished(ledger, good)
    assert await ledger.states() == {"sent": 3, "failed": 1}
    row = await ledger.row(good[1])
    assert row["state"] == "failed"
    assert "example.com" in row["error"]


async def test_a_batch_that_a_crash_cut_off_goes_out_again_as_it_was(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    """Taken, and nobody there to hear the answer; then one recipient leaves and the step is edited."""
    sent = await ledger.messages(5)
    fake.hold_answer = asyncio.Event()
    async with killed(a_mailroom(ledger.pool, resend, clock)):
        await until(lambda: _holds(len(fake.mails) == 5), what="Resend has the mails")
    assert await ledger.states() == {"sending": 5}
    fake.hold_answer.set()
    leaver = await ledger.pool.fetchval("SELECT subscriber_id FROM messages WHERE id = $1", sent[2])
    await unsubscribe(ledger.pool, BrandId(ledger.brand_id), ById(subscriber_id=leaver))
    await ledger.pool.execute("UPDATE drip_steps SET subject = 'edited'")
    clock.advance(timedelta(minutes=2))
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until_finished(ledger, sent)
    assert await ledger.states() == {"sent": 5}
    assert len(fake.mails) == 5, "the key was known, so nothing was sent twice"
    assert await ledger.attempts(sent[0]) == [(1, "interrupted", None), (2, "sent", None)]


async def test_no_more_batches_are_repeated_at_once_than_there_is_room_for(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    """After an outage, with more than four hundred mails due and a desk that has room for two hundred."""
    sent = await ledger.messages(420)
    fake.break_after_taking = True
    async with running(a_mailroom(ledger.pool, resend, clock, concurrency=1)):
        await until(lambda: _tries(ledger, 1), what="every first attempt is recorded")
    fake.break_after_taking = False
    fake.hold_answer = asyncio.Event()
    tried = fake.requests
    clock.advance(timedelta(minutes=2))
    async with running(a_mailroom(ledger.pool, resend, clock, concurrency=1)):
        await until(lambda: _holds(fake.requests > tried), what="one of them is under way")
        leased = await ledger.pool.fetchval("SELECT count(*) FROM messages WHERE lease_token IS NOT NULL")
        assert 0 < leased < 300, "a batch that finds any room is taken whole"
        fake.hold_answer.set()
        await until_finished(ledger, sent)
    assert len(fake.mails) == 420


async def test_a_broken_answer_is_asked_for_again_with_the_same_batch(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    sent = await ledger.messages(3)
    fake.break_after_taking = True
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until(lambda: _tries(ledger, 1), what="the first attempt is recorded")
        assert await ledger.states() == {"sending": 3}
        fake.break_after_taking = False
        clock.advance(timedelta(minutes=1))
        await until_finished(ledger, sent)
    assert await ledger.states() == {"sent": 3}
    assert len(fake.mails) == 3
    assert await ledger.attempts(sent[1]) == [(1, "retry", "500"), (2, "sent", None)]


async def test_a_batch_that_may_have_arrived_is_not_taken_apart_by_a_later_refusal(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    sent = await ledger.messages(3)
    fake.break_after_taking = True
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until(lambda: _tries(ledger, 1), what="the mails are taken, and nobody knows")
        fake.break_after_taking = False
        fake.refuse_next(403, "from_a_proxy")
        clock.advance(timedelta(minutes=1))
        await until(lambda: _tries(ledger, 2), what="the request is refused as a whole")
        clock.advance(timedelta(minutes=2))
        await until_finished(ledger, sent)
    assert await ledger.states() == {"sent": 3}
    assert len(fake.mails) == 3


async def test_a_single_mail_that_may_have_arrived_is_uncertain_when_it_is_refused_later(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    (message,) = await ledger.messages(1)
    fake.drop = True
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until(lambda: _tries(ledger, 1), what="the mail is taken, and nobody knows")
        fake.drop = False
        fake.refuse_next(422, "validation_error")
        clock.advance(timedelta(minutes=1))
        await until_finished(ledger, [message])
    row = await ledger.row(message)
    assert (row["state"], row["error"]) == (
        "uncertain",
        "it may have arrived before: 422 validation_error: no",
    )


async def test_a_batch_that_stays_unclear_is_uncertain_before_its_key_is_forgotten(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    sent = await ledger.messages(2)
    fake.break_after_taking = True
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until(lambda: _tries(ledger, 1), what="the first attempt is recorded")
    clock.advance(timedelta(hours=23, minutes=1))
    fake.break_after_taking = False
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until_finished(ledger, sent)
    assert await ledger.states() == {"uncertain": 2}
    assert fake.requests == 1


async def test_a_batch_that_is_too_large_goes_mail_by_mail(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    sent = await ledger.messages(3)
    fake.takes_at_most = 1500
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until_finished(ledger, sent)
    assert await ledger.states() == {"sent": 3}
    assert len(fake.keys) == 3
    assert (await ledger.row(sent[0]))["batch_id"] is None


async def test_the_limit_that_the_provider_tells_is_kept(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    fake.per_second = 1000
    first = await ledger.messages(2)
    async with running(a_mailroom(ledger.pool, resend, clock)):
        await until_finished(ledger, first)
    row = await ledger.pool.fetchrow("SELECT key, told_interval FROM pacing_buckets")
    assert row is not None
    assert (row["key"], round(row["told_interval"], 6)) == ("account:default", round(1 / 900, 6))


async def test_too_many_requests_slow_everybody_down_and_fail_nobody(
    ledger: Ledger, clock: SetClock, fake: FakeResend, resend: ResendProvider
) -> None:
    sent = await ledger.messages(3)
    fake.refuse_next(429, "rate_limit_exceeded", **{"retry-after": "1"})
    room = a_mailroom(ledger.pool, resend, clock)
    async with running(room):
        await until(lambda: _slowed(ledger), what="the bucket is shut")
        assert await ledger.pool.fetchval("SELECT max(tries) FROM messages") == 0
        clock.advance(timedelta(seconds=5))
        await until_finished(ledger, sent)
    assert await ledger.states() == {"sent": 3}


async def _holds(fact: bool) -> bool:
    return fact


async def _tries(ledger: Ledger, tries: int) -> bool:
    found: bool = await ledger.pool.fetchval(
        "SELECT bool_and(tries = $1 AND lease_token IS NULL) FROM messages", tries
    )
    return found


async def _slowed(ledger: Ledger) -> bool:
    shut: int = await ledger.pool.fetchval("SELECT count(*) FROM pacing_buckets WHERE shut_until IS NOT NULL")
    return shut == 1
