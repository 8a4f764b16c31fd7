from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from mailement_common.ids import BrandId
from mailement_newsletter.commands import ById
from mailement_newsletter.ids import BatchId, MessageId
from mailement_newsletter.queries import lanes, messages
from mailement_newsletter.queries.lanes import Claims, Portion
from mailement_newsletter.queries.messages import (
    Attempt,
    Claimed,
    Departure,
    Expired,
    Fate,
    KnownKeys,
    Lease,
    Place,
)
from mailement_newsletter.rules.lanes import Lane
from mailement_newsletter.rules.messages import AttemptOutcome, MessageState
from mailement_newsletter.rules.senders import MailAccountId, MailKind
from mailement_newsletter.usecases.leave import unsubscribe
from mailement_newsletter.usecases.retry_message import retry_message
from tests.support.database import Database
from tests.support.ledger import Ledger, new_ledger
from tests.support.mails import NOON

LEASE_END = NOON + timedelta(minutes=2)
HOUR = timedelta(hours=1)


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await new_ledger(database.pool)


def lane_of(ledger: Ledger, *, priority: int = 1) -> Lane:
    return Lane(priority=priority, brand_id=BrandId(ledger.brand_id), kind=MailKind.DRIP, id=ledger.drip_id)


async def claim(ledger: Ledger, mails: int = 10) -> Claims:
    portion = Portion(lane=lane_of(ledger), mails=mails, lease_until=LEASE_END)
    return await lanes.claim(ledger.pool, [portion], now=NOON, lease_token=uuid4())


async def claim_one(ledger: Ledger) -> Claimed:
    (claimed,) = (await claim(ledger)).claimed
    return claimed


def departure(claimed: Claimed, **changes: Any) -> Departure:
    facts: dict[str, Any] = {
        "id": claimed.id,
        "lease_token": claimed.lease_token,
        "payload": {"a": 1},
        "attempt": claimed.attempts + 1,
        "provider": "resend",
        "place": claimed.place,
    }
    return Departure(**{**facts, **changes})


async def start(ledger: Ledger, departures: Sequence[Departure], *, now: datetime = NOON) -> set[Lease]:
    return await messages.start(ledger.pool, departures, now=now, lease_until=LEASE_END)


async def start_one(ledger: Ledger, claimed: Claimed, **changes: Any) -> bool:
    return claimed.lease in await start(ledger, [departure(claimed, **changes)])


def keys(provider: str = "resend", kept: timedelta = HOUR) -> KnownKeys:
    return KnownKeys(own=provider, kept={provider: kept} if kept else {})


async def expire(
    ledger: Ledger, *, after: timedelta = timedelta(0), keeps_keys: timedelta = HOUR, provider: str = "resend"
) -> list[Expired]:
    return await messages.expire(
        ledger.pool, now=LEASE_END + after, keys=keys(provider, keeps_keys), max_tries=8, limit=100
    )


def fate(claimed: Claimed, state: MessageState, **changes: Any) -> Fate:
    facts: dict[str, Any] = {
        "id": claimed.id,
        "lease_token": claimed.lease_token,
        "state": state,
        "attempts": claimed.attempts + 1,
        "tries": claimed.tries + 1,
    }
    return Fate(**{**facts, **changes})


async def test_a_claim_locks_nothing_out_and_takes_nothing_twice(ledger: Ledger) -> None:
    await ledger.messages(5)

    async def ids(limit: int) -> set[int]:
        return {message.id for message in (await claim(ledger, limit)).claimed}

    first, second, third = await ids(2), await ids(10), await ids(10)
    assert (len(first), len(second), len(third)) == (2, 3, 0)
    assert first.isdisjoint(second)


async def test_a_row_that_another_mailer_holds_is_skipped(ledger: Ledger) -> None:
    held, free = await ledger.messages(2)
    async with ledger.pool.acquire() as other, other.transaction():
        await other.execute("SELECT id FROM messages WHERE id = $1 FOR UPDATE", held)
        assert (await claim_one(ledger)).id == free


async def test_starting_freezes_once(ledger: Ledger) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    assert await start_one(ledger, claimed)
    assert await start_one(ledger, claimed, payload={"other": 2})
    row = await ledger.row(claimed.id)
    assert (row["payload"], row["attempts"], row["state"]) == ({"a": 1}, 1, "sending")


async def test_nothing_starts_on_a_lease_that_is_over_or_not_ours(ledger: Ledger) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    assert not await start(ledger, [departure(claimed)], now=LEASE_END)
    assert not await start_one(ledger, claimed, lease_token=UUID(int=9))


async def test_a_start_that_comes_late_does_not_shorten_a_lease_that_was_renewed(ledger: Ledger) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    renewed = LEASE_END + timedelta(minutes=5)
    await messages.renew(ledger.pool, [claimed], lease_until=renewed)
    assert await start_one(ledger, claimed)
    assert (await ledger.row(claimed.id))["lease_until"] == renewed


async def claim_twice(ledger: Ledger) -> tuple[Claimed, Claimed]:
    """The same message, whose first claim ended before it was on the wire."""
    await ledger.messages(1)
    stale = await claim_one(ledger)
    await expire(ledger)
    return stale, await claim_one(ledger)


async def test_of_two_claims_of_one_mail_only_the_one_that_still_runs_is_started(ledger: Ledger) -> None:
    stale, fresh = await claim_twice(ledger)
    assert await start(ledger, [departure(stale), departure(fresh)]) == {fresh.lease}


@pytest.mark.parametrize("silent", [False, True])
async def test_of_two_claims_of_one_mail_only_the_one_that_still_runs_is_recorded(
    ledger: Ledger, silent: bool
) -> None:
    """Also when the one that still ran has been called uncertain meanwhile."""
    stale, fresh = await claim_twice(ledger)
    await start_one(ledger, fresh, provider="smtp")
    if silent:
        await expire(ledger)
    fates = [
        fate(stale, MessageState.FAILED, finished_at=NOON),
        fate(fresh, MessageState.SENT, finished_at=NOON),
    ]
    assert await messages.record(ledger.pool, fates) == {fresh.lease}
    assert await ledger.state(fresh.id) == "sent"


async def test_an_outcome_under_a_foreign_lease_is_refused(ledger: Ledger) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    await start_one(ledger, claimed)
    foreign = fate(claimed, MessageState.FAILED, lease_token=UUID(int=9), finished_at=NOON)
    assert await messages.record(ledger.pool, [foreign]) == set()
    assert await ledger.state(claimed.id) == "sending"


async def test_a_claim_that_fell_silent_goes_back_whatever_the_provider(ledger: Ledger) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    (expired,) = await expire(ledger, keeps_keys=timedelta(0), provider="smtp")
    row = await ledger.row(claimed.id)
    assert (expired.state, row["state"], row["attempts"], row["lease_token"]) == ("queued", "queued", 0, None)


async def test_a_lease_that_still_runs_is_left_alone(ledger: Ledger) -> None:
    await ledger.messages(1)
    await claim_one(ledger)
    assert await expire(ledger, after=-timedelta(microseconds=1)) == []


@pytest.mark.parametrize(
    ("started_with", "swept_by", "after", "keeps_keys", "state"),
    [
        ("resend", "resend", timedelta(0), HOUR, "queued"),
        ("resend", "resend", 2 * HOUR, HOUR, "uncertain"),
        ("resend", "smtp", timedelta(0), timedelta(0), "uncertain"),
        ("smtp", "resend", timedelta(0), HOUR, "uncertain"),
        ("smtp", "smtp", timedelta(0), timedelta(0), "uncertain"),
    ],
)
async def test_what_fell_silent_on_the_wire_is_repeated_only_where_the_key_is_known(
    ledger: Ledger, started_with: str, swept_by: str, after: timedelta, keeps_keys: timedelta, state: str
) -> None:
    await ledger.messages(1)
    claimed = await claim_one(ledger)
    await start_one(ledger, claimed, provider=started_with)
    (expired,) = await expire(ledger, after=after, keeps_keys=keeps_keys, provider=swept_by)
    row = await ledger.row(claimed.id)
    assert (expired.state, row["state"], row["may_have_arrived"]) == (state, state, True)
    assert (row["finished_at"] is None) == (state == "queued")


@pytest.mark.parametrize(
    ("may_have_arrived", "after", "swept"),
    [(True, HOUR, True), (True, HOUR - timedelta(seconds=1), False), (False, HOUR, False)],
)
async def test_what_may_have_arrived_and_waits_is_uncertain_once_its_key_is_forgotten(
    ledger: Ledger, may_have_arrived: bool, after: timedelta, swept: bool
) -> None:
    """Nobody claims it, since its brand's way is closed."""
    (message,) = await ledger.messages(1)
    claimed = await claim_one(ledger)
    await start_one(ledger, claimed)
    waits = fate(claimed, MessageState.QUEUED, may_have_arrived=may_have_arrived, error="500")
    await messages.record(ledger.pool, [waits])
    expired = await messages.expire(ledger.pool, now=NOON + after, keys=keys(), max_tries=8, limit=100)
    assert [each.id for each in expired] == ([message] if swept else [])
    row = await ledger.row(message)
    assert (row["state"], row["tries"]) == ("uncertain" if swept else "queued", 1)
    counted = await ledger.pool.fetchval(
        "SELECT coalesce(sum(n), 0) FROM drip_tallies WHERE what = 'uncertain'"
    )
    assert counted == int(swept)


async def test_whoever_claims_a_mail_is_told_of_the_doubt_that_was_left(ledger: Ledger) -> None:
    await ledger.messages(1)
    for may_have_arrived in (True, False):
        claimed = await claim_one(ledger)
        await start_one(ledger, claimed)
        outcome = fate(claimed, MessageState.QUEUED, may_have_arrived=may_have_arrived)
        await messages.record(ledger.pool, [outcome])
        again = await claim_one(ledger)
        assert again.may_have_arrived is may_have_arrived
        await messages.release(ledger.pool, [again])


async def test_what_makes_mailers_fall_silent_again_and_again_comes_to_an_end(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    await ledger.pool.execute("UPDATE messages SET tries = 7 WHERE id = $1", message)
    await start_one(ledger, await claim_one(ledger))
    (expired,) = await expire(ledger)
    assert expired.state is MessageState.UNCERTAIN


async def test_every_attempt_is_in_the_history_also_one_that_was_cut_off(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    first = await claim_one(ledger)
    await start_one(ledger, first)
    await expire(ledger)
    second = await claim_one(ledger)
    await start_one(ledger, second)
    attempt = Attempt(outcome=AttemptOutcome.FAILED, code="422", reason="no", duration_ms=12)
    await messages.record(
        ledger.pool, [fate(second, MessageState.FAILED, finished_at=NOON, error="no", attempt=attempt)]
    )
    assert await ledger.attempts(message) == [(1, "interrupted", None), (2, "failed", "422")]
    row = await ledger.row(message)
    assert (row["state"], row["attempts"], row["tries"]) == ("failed", 2, 2)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [(MessageState.SENT, AttemptOutcome.SENT), (MessageState.QUEUED, AttemptOutcome.RETRY)],
)
async def test_a_mailer_that_was_not_heard_for_a_while_tells_what_became_of_its_mail(
    ledger: Ledger, state: MessageState, outcome: AttemptOutcome
) -> None:
    (message,) = await ledger.messages(1)
    claimed = await claim_one(ledger)
    await start_one(ledger, claimed, provider="smtp")
    await expire(ledger)
    assert await ledger.state(message) == "uncertain"
    attempt = Attempt(outcome=outcome, code="250", reason=None, duration_ms=12)
    late = fate(claimed, state, attempt=attempt)
    assert await messages.record(ledger.pool, [late]) == {claimed.lease}
    row = await ledger.row(message)
    assert (row["state"], row["tries"], row["lease_token"], row["finished_at"]) == (state, 1, None, None)
    assert not row["may_have_arrived"], "whoever asked knows that it has not, or that it has"
    assert await ledger.attempts(message) == [(1, outcome, "250")]
    assert await messages.record(ledger.pool, [late]) == set(), "it has been said once"
    counts = await ledger.pool.fetch(
        "SELECT what, sum(n)::int AS n FROM drip_tallies GROUP BY what HAVING sum(n) <> 0"
    )
    assert [tuple(each) for each in counts] == ([("sent", 1)] if state is MessageState.SENT else [])


async def test_a_mailer_that_comes_back_says_nothing_of_a_mail_that_goes_out_again(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    claimed = await claim_one(ledger)
    await start_one(ledger, claimed, provider="smtp")
    await expire(ledger)
    async with ledger.pool.acquire() as connection:
        await retry_message(connection, MessageId(message), brand_id=BrandId(ledger.brand_id))
    assert await messages.record(ledger.pool, [fate(claimed, MessageState.SENT)]) == set()
    assert await ledger.state(message) == "queued"


async def test_an_account_and_a_sender_stay_with_a_frozen_mail(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    claimed = await claim_one(ledger)
    await start_one(ledger, claimed, account_id=3, sender_id=4)
    await expire(ledger)
    again = await claim_one(ledger)
    assert (again.account_id, again.sender_id, again.provider) == (3, 4, "resend")
    assert (again.first_attempt_at, again.tries) == (NOON, 1)
    row = await ledger.row(message)
    assert (row["mail_account_id"], row["sender_id"]) == (3, 4)


async def test_a_thawed_mail_is_as_if_it_had_never_gone_out(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    claimed = await claim_one(ledger)
    place = Place(batch=BatchId(uuid4()), position=0)
    await start_one(ledger, claimed, place=place)
    await messages.record(ledger.pool, [fate(claimed, MessageState.QUEUED, tries=0, thaw=True)])
    row = await ledger.row(message)
    assert (row["payload"], row["batch_id"], row["first_attempt_at"], row["not_before"]) == (
        None,
        None,
        None,
        NOON,
    )


async def batch_of(ledger: Ledger, count: int, **changes: Any) -> tuple[BatchId, list[Claimed]]:
    """Mails that are on the wire together, in the reverse of the order of their ids."""
    await ledger.messages(count)
    claimed = list((await claim(ledger, count)).claimed)[::-1]
    batch = BatchId(uuid4())
    departures = [
        departure(each, place=Place(batch=batch, position=number), **changes)
        for number, each in enumerate(claimed)
    ]
    await start(ledger, departures)
    return batch, claimed


async def claim_batches(ledger: Ledger, *, now: datetime = LEASE_END, **changes: Any) -> list[list[Claimed]]:
    facts: dict[str, Any] = {"keys": keys(), "max_tries": 8, "limit": 10}
    return await lanes.claim_batches(
        ledger.pool, now=now, lease_until=now + HOUR, lease_token=uuid4(), **{**facts, **changes}
    )


async def test_a_batch_whose_mailer_died_is_claimed_whole_and_in_its_order(ledger: Ledger) -> None:
    batch, sent = await batch_of(ledger, 5)
    assert await expire(ledger) == []
    (members,) = await claim_batches(ledger)
    assert [member.id for member in members] == [each.id for each in sent]
    assert {member.place.batch for member in members if member.place} == {batch}
    assert {member.tries for member in members} == {1}
    assert await ledger.attempts(members[0].id) == [(1, "interrupted", None)]
    assert await claim_batches(ledger) == []


async def test_a_batch_is_claimed_whole_though_a_recipient_has_left(ledger: Ledger) -> None:
    _, sent = await batch_of(ledger, 3)
    await unsubscribe(ledger.pool, BrandId(ledger.brand_id), ById(subscriber_id=sent[1].recipient.id))
    (members,) = await claim_batches(ledger)
    assert len(members) == 3


async def test_no_part_of_a_batch_is_claimed_before_all_of_it_may_go(ledger: Ledger) -> None:
    _, sent = await batch_of(ledger, 3)
    await ledger.pool.execute(
        "UPDATE messages SET lease_until = $2 WHERE id = $1", sent[1].id, LEASE_END + HOUR / 2
    )
    assert await claim_batches(ledger) == []
    (members,) = await claim_batches(ledger, now=LEASE_END + HOUR / 2)
    assert len(members) == 3


async def test_a_batch_goes_to_one_mailer(ledger: Ledger) -> None:
    await batch_of(ledger, 20)
    claims = await asyncio.gather(*(claim_batches(ledger) for _ in range(5)))
    assert sorted(len(members) for batches in claims for members in batches) == [20]


async def test_batches_of_full_accounts_are_left_alone(ledger: Ledger) -> None:
    await batch_of(ledger, 2)
    before = await ledger.pool.fetch("SELECT id, xmin::text FROM messages ORDER BY id")
    assert await claim_batches(ledger, full=[None]) == []
    assert await ledger.pool.fetch("SELECT id, xmin::text FROM messages ORDER BY id") == before
    (members,) = await claim_batches(ledger, full=[MailAccountId(1)])
    assert len(members) == 2


async def test_a_batch_that_waits_for_its_next_attempt_is_left_alone_until_then(ledger: Ledger) -> None:
    _, sent = await batch_of(ledger, 2)
    again_at = LEASE_END + HOUR / 2
    await messages.record(
        ledger.pool, [fate(each, MessageState.SENDING, not_before=again_at) for each in sent]
    )
    assert await claim_batches(ledger) == []
    (members,) = await claim_batches(ledger, now=again_at)
    assert {member.tries for member in members} == {1}, "a wait is no interruption"
    assert await ledger.attempts(members[0].id) == []


@pytest.mark.parametrize(
    ("after", "provider", "tries"),
    [(2 * HOUR, "resend", 8), (timedelta(0), "smtp", 8), (timedelta(0), "resend", 1)],
    ids=["its key is forgotten", "another provider", "too many tries"],
)
async def test_a_batch_that_cannot_be_repeated_is_uncertain(
    ledger: Ledger, after: timedelta, provider: str, tries: int
) -> None:
    await batch_of(ledger, 2)
    known = keys(provider)
    now = LEASE_END + after
    assert await claim_batches(ledger, now=now, keys=known, max_tries=tries) == []
    expired = await messages.expire(ledger.pool, now=now, keys=known, max_tries=tries, limit=10)
    assert [each.state for each in expired] == ["uncertain", "uncertain"]


async def test_a_batch_through_an_account_of_its_own_does_not_ask_what_the_settings_say(
    ledger: Ledger,
) -> None:
    await batch_of(ledger, 2, account_id=7)
    known = KnownKeys(own="smtp", kept={"resend": HOUR})
    assert len(await claim_batches(ledger, keys=known)) == 1


async def test_a_drip_that_was_archived_cancels_and_one_that_is_paused_does_not(ledger: Ledger) -> None:
    first, second = await ledger.messages(2)
    await ledger.pool.execute("UPDATE drips SET state = 'paused'")
    claims = await claim(ledger, 1)
    assert [message.id for message in claims.claimed] == [first]
    await ledger.pool.execute("UPDATE drips SET state = 'archived'")
    claims = await claim(ledger)
    assert [(each.id, each.reason) for each in claims.cancelled] == [(second, "drip_archived")]
    told = await ledger.pool.fetch("SELECT step_id, n FROM drip_tallies WHERE what = 'cancelled'")
    assert [tuple(row) for row in told] == [(ledger.step_id, 1)]


async def test_what_became_of_a_drips_mails_is_counted(ledger: Ledger) -> None:
    await ledger.messages(3)
    claimed = (await claim(ledger)).claimed
    await start(ledger, [departure(each) for each in claimed])
    states = [MessageState.SENT, MessageState.SENT, MessageState.FAILED]
    await messages.record(
        ledger.pool,
        [fate(each, state, finished_at=NOON) for each, state in zip(claimed, states, strict=True)],
    )
    rows = await ledger.pool.fetch("SELECT step_id, what, n FROM drip_tallies ORDER BY what")
    assert [tuple(row) for row in rows] == [(ledger.step_id, "failed", 1), (ledger.step_id, "sent", 2)]


@pytest.mark.parametrize(("status", "leaves"), [("pending", True), ("confirmed", True), ("bounced", False)])
async def test_an_answer_to_somebody_who_has_not_confirmed_yet_leaves(
    ledger: Ledger, status: str, leaves: bool
) -> None:
    await ledger.message(await ledger.subscriber(status=status))
    await ledger.pool.execute("UPDATE messages SET kind = 'transactional', drip_step_id = NULL")
    lane = replace(lane_of(ledger), kind=MailKind.TRANSACTIONAL)
    portion = Portion(lane=lane, mails=1, lease_until=LEASE_END)
    claims = await lanes.claim(ledger.pool, [portion], now=NOON, lease_token=uuid4())
    assert bool(claims.claimed) is leaves
