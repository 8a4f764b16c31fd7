"""Messages as people list, show and retry them, and what is noted of those who got them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import pytest

from mailement_common.ids import BrandId, SubscriberId
from mailement_mailer.providers.resend import ResendProvider
from mailement_newsletter.errors import MessageCannotBeRetried, MessageNotFound
from mailement_newsletter.ids import DripId, MessageId
from mailement_newsletter.rules.messages import MessageState
from mailement_newsletter.rules.senders import MailKind
from mailement_newsletter.usecases import list_messages as listing
from mailement_newsletter.usecases import retry_message as retrying
from mailement_newsletter.usecases.list_messages import MessageFilter, MessagePage, list_messages
from mailement_newsletter.usecases.note_engagement import Engagement, note_engagement
from mailement_newsletter.usecases.retry_message import Retried, retry_message
from mailement_newsletter.usecases.show_message import show_message
from tests.integration.newsletter.plans import scans
from tests.support.database import Database
from tests.support.fake_resend import API_KEY, fake_resend
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
from tests.support.mails import NOON


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await new_ledger(database.pool)


async def page(ledger: Ledger, *, limit: int = 50, before: int | None = None, **wanted: Any) -> MessagePage:
    return await list_messages(
        ledger.pool,
        MessageFilter(**{"brand_id": BrandId(ledger.brand_id), **wanted}),
        limit=limit,
        before=None if before is None else MessageId(before),
    )


def ids(found: MessagePage) -> list[int]:
    return [message.id for message in found.messages]


async def retry(ledger: Ledger, message: int) -> Retried:
    async with ledger.pool.acquire() as connection:
        return await retry_message(connection, MessageId(message), brand_id=BrandId(ledger.brand_id))


async def test_messages_come_the_newest_first_in_pages(ledger: Ledger) -> None:
    made = await ledger.messages(5)
    first = await page(ledger, limit=3)
    second = await page(ledger, limit=3, before=first.before)
    assert ids(first) + ids(second) == made[::-1]
    assert second.before is None


async def test_a_list_is_narrowed(ledger: Ledger) -> None:
    made = await ledger.messages(4)
    await ledger.pool.execute("UPDATE messages SET state = 'failed' WHERE id = $1", made[1])
    await ledger.pool.execute("UPDATE messages SET kind = 'campaign', drip_id = NULL WHERE id = $1", made[2])
    subscriber = await ledger.pool.fetchval("SELECT subscriber_id FROM messages WHERE id = $1", made[3])
    assert ids(await page(ledger, state=MessageState.FAILED)) == [made[1]]
    assert ids(await page(ledger, state=MessageState.UNCERTAIN)) == []
    assert ids(await page(ledger, kind=MailKind.CAMPAIGN)) == [made[2]]
    assert ids(await page(ledger, drip_id=DripId(ledger.drip_id))) == [made[3], made[1], made[0]]
    assert ids(await page(ledger, subscriber_id=SubscriberId(subscriber))) == [made[3]]
    assert ids(await page(ledger, subscriber_id=SubscriberId(subscriber), state=MessageState.SENT)) == []
    assert ids(await page(ledger, brand_id=BrandId(99))) == []
    assert ids(await page(ledger, brand_id=BrandId(99), subscriber_id=SubscriberId(subscriber))) == []


async def test_a_page_looks_no_further_than_some_thousand_and_says_where_it_stopped(ledger: Ledger) -> None:
    await ledger.pool.execute(
        """INSERT INTO messages (brand_id, subscriber_id, kind, dedupe_key)
        SELECT $1, n, CASE WHEN n = 1 THEN 'campaign' ELSE 'drip' END, 'k' || n FROM generate_series(1, 5001) AS n""",
        ledger.brand_id,
    )
    first = await page(ledger, kind=MailKind.CAMPAIGN)
    assert ids(first) == []
    assert first.before is not None
    second = await page(ledger, kind=MailKind.CAMPAIGN, before=first.before)
    assert (len(second.messages), second.before) == (1, None)


@pytest.mark.parametrize("query", list(listing.SQL))
@pytest.mark.parametrize("stored", [0, 20_000])
async def test_a_list_reads_an_index_of_its_own_whatever_is_stored(
    ledger: Ledger, query: str, stored: int
) -> None:
    await ledger.pool.execute(
        """INSERT INTO messages (brand_id, subscriber_id, kind, state, dedupe_key)
        SELECT 1 + n % 3, n, 'drip', CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'sent' END, 'k' || n
        FROM generate_series(1, $1::int) AS n""",
        stored,
    )
    arguments: list[Any] = [7, 2**63 - 1, 5000]
    if not query.startswith("end_of"):
        arguments += [51, None, None, None]
    if query == "of_subscriber":
        arguments.append(1)
    async with ledger.pool.acquire() as connection:
        if stored:
            await connection.execute("ANALYZE messages")
        found = await scans(connection, listing.SQL[query], *arguments, generic=True)
    used = {scan.index for scan in found if scan.table == "messages"}
    expected = {
        "brand": "messages_by_brand",
        "subscriber": "messages_by_subscriber",
        "trouble": "messages_in_trouble",
    }
    assert used == {expected[query.rpartition("_")[2]]}


@pytest.mark.parametrize(
    ("query", "arguments", "indexes"),
    [
        ("find", [7, 1, ["resend"], [timedelta(hours=1)]], {"messages_pkey", "messages_uncertain_batches"}),
        ("with_its_batch", [str(uuid4())], {"messages_uncertain_batches"}),
    ],
)
async def test_the_way_to_a_batchs_members_is_an_index(
    ledger: Ledger, query: str, arguments: list[Any], indexes: set[str]
) -> None:
    await ledger.pool.execute(
        """INSERT INTO messages (brand_id, subscriber_id, kind, state, dedupe_key, batch_id)
        SELECT n % 9, n, 'drip', 'uncertain', 'k' || n, md5((n / 100)::text)::uuid FROM generate_series(1, 20000) AS n"""
    )
    async with ledger.pool.acquire() as connection:
        await connection.execute("ANALYZE messages")
        found = await scans(connection, retrying.SQL[query], *arguments, generic=True)
    assert "Seq Scan" not in {scan.kind for scan in found}
    assert indexes <= {scan.index for scan in found}


async def test_two_who_wish_for_mails_of_one_batch_wait_for_each_other(ledger: Ledger) -> None:
    mails = await ledger.messages(3)
    await ledger.pool.execute(
        """UPDATE messages SET state = 'uncertain', provider = 'resend', payload = '{}', batch_id = gen_random_uuid(),
        first_attempt_at = now()"""
    )
    await ledger.pool.execute(
        "UPDATE messages SET batch_id = (SELECT min(batch_id::text)::uuid FROM messages)"
    )
    async with ledger.pool.acquire() as other, other.transaction():
        await other.execute("SELECT FROM messages WHERE id = $1 FOR UPDATE", mails[1])
        both = asyncio.gather(retry(ledger, mails[0]), retry(ledger, mails[2]), return_exceptions=True)
        await until(lambda: _locked_out(ledger, 2), what="both of them wait")
    first, second = sorted(await both, key=lambda each: isinstance(each, Exception))
    assert first is Retried.WITH_ITS_BATCH
    assert isinstance(second, MessageCannotBeRetried)
    assert await ledger.states() == {"sending": 3}


async def _locked_out(ledger: Ledger, sessions: int) -> bool:
    waiting: int = await ledger.pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return waiting == sessions


async def test_a_page_of_all_that_there_is_reads_no_more_than_it_shows(ledger: Ledger) -> None:
    await ledger.pool.execute(
        """INSERT INTO messages (brand_id, subscriber_id, kind, dedupe_key)
        SELECT $1, n, 'drip', 'k' || n FROM generate_series(1, 6000) AS n""",
        ledger.brand_id,
    )
    async with ledger.pool.acquire() as connection:
        await connection.execute("ANALYZE messages")
        arguments = f"{ledger.brand_id}, {2**63 - 1}, 5000, 11, NULL, NULL, NULL"
        statement = await connection.prepare(listing.SQL["of_brand"])
        plan = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {statement.get_name()}({arguments})"
        )
    assert _read_of_messages(orjson.loads(plan)[0]["Plan"]) == 11


def _read_of_messages(node: dict[str, Any]) -> int:
    own = node["Actual Rows"] if node.get("Relation Name") == "messages" else 0
    return int(own) + sum(_read_of_messages(part) for part in node.get("Plans", []))


async def test_a_message_is_shown_with_its_attempts_to_its_brand_alone(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), SetClock())):
        await until_finished(ledger, [message])
    report = await show_message(ledger.pool, MessageId(message), brand_id=BrandId(ledger.brand_id))
    assert (report.message.state, report.message.subject) == ("sent", "Welcome reader0")
    (attempt,) = report.attempts
    assert (attempt.number, attempt.outcome, attempt.provider) == (1, "sent", "scripted")
    with pytest.raises(MessageNotFound):
        await show_message(ledger.pool, MessageId(message), brand_id=BrandId(99))


async def test_a_failed_mail_is_composed_anew_under_a_new_key(ledger: Ledger) -> None:
    message = await ledger.message(await ledger.subscriber(), key="drip:1:1")
    clock = SetClock()
    await ledger.pool.execute("UPDATE drip_steps SET body_text = '{% bad %}'")
    async with fake_resend() as fake:
        provider = ResendProvider(url=fake.url, api_key=API_KEY, connections=2)
        async with running(a_mailroom(ledger.pool, provider, clock)):
            await until_finished(ledger, [message])
            assert await ledger.state(message) == "failed"
            await ledger.pool.execute("UPDATE drip_steps SET body_text = 'mended'")
            assert await retry(ledger, message) is Retried.ANEW
            await ledger.pool.execute("UPDATE messages SET not_before = $1", NOON)
            await until_finished(ledger, [message])
        await provider.close()
        assert await ledger.state(message) == "sent"
        assert fake.keys == ["drip:1:1:again:1"]
        assert "mended" in fake.mails[0]["text"]
    counts = await ledger.pool.fetch(
        "SELECT what, sum(n)::int AS n FROM drip_tallies GROUP BY what HAVING sum(n) <> 0"
    )
    assert [tuple(row) for row in counts] == [("sent", 1)]


async def test_an_uncertain_mail_whose_key_is_forgotten_goes_out_as_it_was(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    await ledger.pool.execute(
        """UPDATE messages SET state = 'uncertain', provider = 'smtp', payload = '{"subject": "x"}', attempts = 1, tries = 1,
        first_attempt_at = now(), finished_at = now()"""
    )
    assert await retry(ledger, message) is Retried.AS_IT_IS
    row = await ledger.row(message)
    assert (row["state"], row["payload"], row["key_version"], row["attempts"]) == (
        "queued",
        {"subject": "x"},
        0,
        1,
    )


async def test_a_mail_that_is_to_go_as_it_was_and_has_no_way_is_uncertain_again(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    await ledger.pool.execute(
        """UPDATE messages SET state = 'uncertain', provider = 'smtp', payload = '{}', attempts = 1, tries = 1,
        sender_id = 99, mail_account_id = 98, finished_at = now()"""
    )
    assert await retry(ledger, message) is Retried.AS_IT_IS
    provider = ScriptedProvider()
    clock = SetClock(await ledger.pool.fetchval("SELECT now()"))
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until_finished(ledger, [message])
    row = await ledger.row(message)
    assert (row["state"], row["error"]) == (
        "uncertain",
        "it may have arrived, and its way is closed: the sender is not there any more",
    )
    assert provider.mails == []


async def test_an_uncertain_mail_whose_key_is_known_keeps_it(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    await ledger.pool.execute(
        """UPDATE messages SET state = 'uncertain', provider = 'resend', payload = '{}', first_attempt_at = now()"""
    )
    assert await retry(ledger, message) is Retried.UNDER_ITS_KEY
    assert (await ledger.row(message))["first_attempt_at"] is not None


@pytest.mark.parametrize(
    ("mails", "way"), [(3, Retried.WITH_ITS_BATCH), (1, Retried.UNDER_ITS_KEY)], ids=["a batch", "a mail"]
)
async def test_what_is_uncertain_goes_out_again_under_its_key_and_arrives_once_though_it_is_refused_first(
    ledger: Ledger, mails: int, way: Retried
) -> None:
    sent = await ledger.messages(mails)
    clock = SetClock(await ledger.pool.fetchval("SELECT now()"))
    async with fake_resend() as fake:
        provider = ResendProvider(url=fake.url, api_key=API_KEY, connections=2)
        fake.break_after_taking = True
        async with running(a_mailroom(ledger.pool, provider, clock)):
            for attempt in range(1, 8):
                await until(partial(_attempted, ledger, attempt), what=f"attempt {attempt}")
                clock.advance(timedelta(hours=2))
            await until_finished(ledger, sent)
            assert await ledger.states() == {"uncertain": mails}
            fake.break_after_taking = False
            fake.refuse_next(429, "rate_limit_exceeded", **{"retry-after": "1"})
            assert await retry(ledger, sent[-1]) is way
            await until(partial(_attempted, ledger, 9), what="there is too much at once")
        clock.advance(timedelta(minutes=1))
        async with running(a_mailroom(ledger.pool, provider, clock)):
            await until_finished(ledger, sent)
        await provider.close()
        assert await ledger.states() == {"sent": mails}
        assert len(fake.mails) == mails


async def _attempted(ledger: Ledger, attempt: int) -> bool:
    return bool(
        await ledger.pool.fetchval(
            "SELECT bool_and(lease_token IS NULL AND attempts = $1) FROM messages", attempt
        )
    )


@pytest.mark.parametrize("state", ["queued", "claimed", "sending", "sent", "cancelled"])
async def test_what_has_not_come_to_a_bad_end_cannot_be_retried(ledger: Ledger, state: str) -> None:
    (message,) = await ledger.messages(1)
    await ledger.pool.execute("UPDATE messages SET state = $1", state)
    with pytest.raises(MessageCannotBeRetried) as refused:
        await retry(ledger, message)
    assert refused.value.state == state


async def test_nobody_retries_another_brands_mail(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    await ledger.pool.execute("UPDATE messages SET state = 'failed'")
    async with ledger.pool.acquire() as connection:
        with pytest.raises(MessageNotFound):
            await retry_message(connection, MessageId(message), brand_id=BrandId(99))
    assert await ledger.state(message) == "failed"


async def test_the_first_time_that_a_person_opens_or_clicks_counts(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    message_id = MessageId(message)
    later = NOON + timedelta(hours=1)
    for what in Engagement:
        assert await note_engagement(ledger.pool, message_id, what, by_machine=False, at=NOON)
        assert not await note_engagement(ledger.pool, message_id, what, by_machine=False, at=later)
    row = await ledger.pool.fetchrow("SELECT opened_at, clicked_at, machine_opened_at FROM messages")
    assert row is not None
    assert tuple(row) == (NOON, NOON, None)
    counts = await ledger.pool.fetch("SELECT what, n FROM drip_tallies ORDER BY what")
    assert [tuple(each) for each in counts] == [("clicked", 1), ("opened", 1)]


async def test_what_a_program_does_never_counts_as_a_persons(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    for what in Engagement:
        await note_engagement(ledger.pool, MessageId(message), what, by_machine=True, at=NOON)
    row = await ledger.pool.fetchrow("SELECT opened_at, clicked_at, machine_opened_at FROM messages")
    assert row is not None
    assert tuple(row) == (None, None, NOON)
    assert await ledger.pool.fetchval("SELECT count(*) FROM drip_tallies") == 0


async def test_a_message_that_is_not_there_is_no_fault(ledger: Ledger) -> None:
    assert not await note_engagement(
        ledger.pool, MessageId(uuid4().int % 2**40), Engagement.OPENED, by_machine=False, at=NOON
    )
