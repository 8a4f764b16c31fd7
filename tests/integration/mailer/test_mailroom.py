from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs
from typing_extensions import override

from mailement_common.db.pool import new_pool
from mailement_common.settings import DatabaseSettings
from mailement_mailer import mailroom
from mailement_mailer.providers.mime import build
from mailement_mailer.providers.port import Failed, Outcome, RenderedMail, RetryLater, Uncertain
from mailement_mailer.providers.resend import ResendProvider
from mailement_mailer.providers.smtp import SmtpProvider
from mailement_mailer.settings import SmtpTls
from mailement_mailer.settle import MAX_TRIES
from mailement_newsletter.queries import messages
from mailement_newsletter.queries.messages import KnownKeys
from mailement_newsletter.queries.pacing import observe
from tests.support.database import Database
from tests.support.fake_resend import API_KEY, fake_resend
from tests.support.ledger import (
    Ledger,
    ScriptedProvider,
    SetClock,
    a_mailroom,
    killed,
    new_ledger,
    running,
    until,
    until_finished,
)
from tests.support.mails import NOON
from tests.support.smtp_sink import smtp_sink


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await new_ledger(database.pool)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


async def test_a_queued_message_is_sent_and_its_bytes_are_kept(ledger: Ledger, clock: SetClock) -> None:
    message = await ledger.message(await ledger.subscriber())
    provider = ScriptedProvider()
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until_finished(ledger, [message])
    row = await ledger.row(message)
    assert (row["state"], row["attempts"], row["provider"], row["provider_message_id"]) == (
        "sent",
        1,
        "scripted",
        "id",
    )
    assert (row["lease_token"], row["lease_until"], row["error"]) == (None, None, None)
    (mail,) = provider.mails
    assert mail.subject == "Welcome ada" == row["payload"]["subject"]
    assert mail.key == f"drip:{message}:{ledger.step_id}"
    assert set(row["payload"]) == {"sender", "recipient", "subject", "html", "text", "headers", "message_id"}


@pytest.mark.parametrize("status", ["unsubscribed", "bounced", "complained", "pending"])
async def test_whoever_left_after_queueing_gets_nothing(ledger: Ledger, clock: SetClock, status: str) -> None:
    leaver, reader = await ledger.subscriber("leaver"), await ledger.subscriber("reader")
    gone, stays = await ledger.message(leaver), await ledger.message(reader)
    await ledger.pool.execute("UPDATE subscribers SET status = $2 WHERE id = $1", leaver, status)
    provider = ScriptedProvider()
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until_finished(ledger, [gone, stays])
    row = await ledger.row(gone)
    assert (row["state"], row["error"], row["attempts"]) == ("cancelled", f"subscriber_{status}", 0)
    assert [mail.recipient for mail in provider.mails] == ["reader@example.org"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE brands SET deleted_at = now()", "brand_deleted"),
        ("UPDATE drip_steps SET deleted_at = now()", "step_deleted"),
        ("DELETE FROM subscribers", "subscriber_deleted"),
    ],
)
async def test_what_was_deleted_after_queueing_is_not_sent(
    ledger: Ledger, clock: SetClock, change: str, reason: str
) -> None:
    message = await ledger.message(await ledger.subscriber())
    await ledger.pool.execute(change)
    provider = ScriptedProvider()
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until_finished(ledger, [message])
    assert (await ledger.row(message))["error"] == reason
    assert provider.mails == []


async def test_a_leaver_is_not_written_to_on_a_retry_either(ledger: Ledger, clock: SetClock) -> None:
    subscriber = await ledger.subscriber()
    message = await ledger.message(subscriber)
    provider = ScriptedProvider(outcome=RetryLater(reason="busy"))
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until(lambda: _attempted(ledger, message, 1), what="the first attempt")
        await ledger.pool.execute("UPDATE subscribers SET status = 'unsubscribed'")
        clock.advance(timedelta(hours=2))
        await until_finished(ledger, [message])
    assert await ledger.state(message) == "cancelled"
    assert len(provider.mails) == 1


async def test_two_mailers_never_send_the_same_message(ledger: Ledger, clock: SetClock) -> None:
    messages = await ledger.messages(60)
    provider = ScriptedProvider()
    rooms = [a_mailroom(ledger.pool, provider, clock, concurrency=5) for _ in range(2)]
    async with running(*rooms):
        await until_finished(ledger, messages)
    keys = [mail.key for mail in provider.mails]
    assert len(keys) == len(set(keys)) == 60
    assert await ledger.states() == {"sent": 60}


async def test_concurrency_is_bounded_and_used(ledger: Ledger, clock: SetClock) -> None:
    await ledger.messages(20)
    provider = ScriptedProvider(gate=asyncio.Event())
    async with running(a_mailroom(ledger.pool, provider, clock, concurrency=4)):
        await until(lambda: _holds(provider.now_sending == 4), what="four mails on the wire")
        states = await ledger.states()
        assert states["sending"] == 4
        assert provider.gate is not None
        provider.gate.set()
        await until(lambda: _counts(ledger, sent=20), what="all sent")
    assert provider.most_at_once == 4


async def test_the_next_mail_does_not_wait_until_the_last_one_is_written_down(
    ledger: Ledger, clock: SetClock
) -> None:
    first, second = await ledger.messages(2)
    provider = ScriptedProvider(gate=asyncio.Event())
    assert provider.gate is not None
    async with running(a_mailroom(ledger.pool, provider, clock, concurrency=1)):
        await until(lambda: _holds(provider.now_sending == 1), what="the first mail on the wire")
        async with ledger.pool.acquire() as other, other.transaction():
            await other.execute("SELECT FROM messages WHERE id = $1 FOR UPDATE", first)
            provider.gate.set()
            await until(lambda: _holds(len(provider.mails) == 2), what="the second mail on the wire")
            assert await ledger.state(first) == "sending"
        await until_finished(ledger, [first, second])
    assert await ledger.states() == {"sent": 2}


async def test_a_slow_provider_holds_no_connection(ledger: Ledger, clock: SetClock) -> None:
    await ledger.messages(4)
    provider = ScriptedProvider(gate=asyncio.Event())
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until(lambda: _holds(provider.now_sending == 4), what="four mails on the wire")
        await until(
            lambda: _holds(ledger.pool.get_idle_size() == ledger.pool.get_size()), what="an idle pool"
        )
        assert provider.gate is not None
        provider.gate.set()


async def test_the_urgent_go_first_then_the_older(ledger: Ledger, clock: SetClock) -> None:
    readers = [await ledger.subscriber(f"r{number}") for number in range(5)]
    early, late = NOON - timedelta(hours=1), NOON - timedelta(minutes=1)
    messages = [
        await ledger.message(readers[0], priority=7, not_before=early),
        await ledger.message(readers[1], priority=1, not_before=late),
        await ledger.message(readers[2], priority=1, not_before=early),
        await ledger.message(readers[3], priority=0, not_before=late),
    ]
    future = await ledger.message(readers[4], priority=0, not_before=NOON + timedelta(seconds=1))
    provider = ScriptedProvider()
    async with running(a_mailroom(ledger.pool, provider, clock, concurrency=1)):
        await until_finished(ledger, messages)
    assert [mail.recipient[:2] for mail in provider.mails] == ["r3", "r2", "r1", "r0"]
    assert await ledger.state(future) == "queued"


async def test_a_retry_sends_the_frozen_mail_again_when_its_time_has_come(
    ledger: Ledger, clock: SetClock
) -> None:
    message = await ledger.message(await ledger.subscriber())
    provider = ScriptedProvider(outcome=RetryLater(reason="451 later"))
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until(lambda: _attempted(ledger, message, 1), what="the first attempt")
        row = await ledger.row(message)
        assert (row["state"], row["error"]) == ("queued", "451 later")
        assert timedelta(seconds=27) <= row["not_before"] - NOON <= timedelta(seconds=33)
        await ledger.pool.execute("UPDATE drip_steps SET subject = 'edited'")
        provider.outcome = ScriptedProvider().outcome
        clock.advance(timedelta(minutes=1))
        await until_finished(ledger, [message])
    assert provider.mails[0] == provider.mails[1]
    assert build(provider.mails[0]) == build(provider.mails[1])
    assert (await ledger.row(message))["attempts"] == 2


async def test_the_last_retry_fails(ledger: Ledger, clock: SetClock) -> None:
    message = await ledger.message(await ledger.subscriber())
    provider = ScriptedProvider(outcome=RetryLater(reason="451 later"))
    room = a_mailroom(ledger.pool, provider, clock)
    async with running(room):
        for attempt in range(1, MAX_TRIES):
            await until(partial(_attempted, ledger, message, attempt), what=f"attempt {attempt}")
            clock.advance(timedelta(hours=2))
            room.wake()
        await until_finished(ledger, [message])
    row = await ledger.row(message)
    assert (row["state"], row["attempts"]) == ("failed", MAX_TRIES)
    assert len(provider.mails) == MAX_TRIES


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Failed(reason="550 no"), "failed"), (Uncertain(reason="no answer"), "uncertain")],
)
async def test_an_end_is_recorded_and_never_repeated(
    ledger: Ledger, clock: SetClock, outcome: Outcome, state: str
) -> None:
    message = await ledger.message(await ledger.subscriber())
    provider = ScriptedProvider(outcome=outcome)
    room = a_mailroom(ledger.pool, provider, clock)
    async with running(room):
        await until_finished(ledger, [message])
        clock.advance(timedelta(days=2))
        # In the same lane, so whoever takes it has looked at what is before it.
        next_one = await ledger.message(await ledger.subscriber("next"), not_before=clock.now())
        room.wake()
        await until_finished(ledger, [next_one])
    row = await ledger.row(message)
    assert (row["state"], row["attempts"]) == (state, 1)
    assert len(provider.mails) == 2


async def test_trouble_of_the_provider_stops_the_others_and_fails_nobody(
    ledger: Ledger, clock: SetClock
) -> None:
    messages = await ledger.messages(30)
    trouble = RetryLater(reason="account: 401", after=timedelta(seconds=1), provider_wide=True)
    provider = ScriptedProvider(outcome=trouble)
    room = a_mailroom(ledger.pool, provider, clock, concurrency=2)
    async with running(room):
        await until(lambda: _counts(ledger, queued=30), what="all back in the queue")
        await until(lambda: _holds(room.trouble is not None), what="the trouble is told")
        assert len(provider.mails) < 10
        provider.outcome = ScriptedProvider().outcome
        clock.advance(timedelta(seconds=2))
        await until_finished(ledger, messages)
        assert room.trouble is None
    assert await ledger.pool.fetchval("SELECT max(tries) FROM messages") == 1
    refused = await ledger.pool.fetchval("SELECT count(*) FROM message_attempts WHERE outcome = 'retry'")
    assert refused == len(provider.mails) - 30


async def test_a_backlog_of_one_brand_does_not_hold_up_another(ledger: Ledger, clock: SetClock) -> None:
    """The provider has brand A's mails in hand and more of them wait; brand B's comes, and goes with the next ones."""
    await ledger.pool.execute(
        """INSERT INTO messages (brand_id, subscriber_id, kind, lane, drip_step_id, dedupe_key, not_before, created_at)
        SELECT $1, $2, 'drip', 1, $3, 'backlog:' || n, $4, $4 FROM generate_series(1, 3000) AS n""",
        ledger.brand_id,
        await ledger.subscriber("crowd"),
        ledger.step_id,
        NOON - timedelta(days=1),
    )
    provider = ScriptedProvider(gate=asyncio.Event())
    room = a_mailroom(ledger.pool, provider, clock, concurrency=4)
    async with running(room):
        await until(lambda: _holds(provider.now_sending == 4), what="the wire is full")
        other = await ledger.another_brand()
        message = await other.message(await other.subscriber("single"))
        room.wake()
        await until(lambda: _state_is(ledger, message, "claimed"), what="it is in hand")
        assert provider.gate is not None
        before = len(provider.mails)
        provider.gate.set()
        await until_finished(ledger, [message])
        place = [mail.recipient for mail in provider.mails].index("single@example.org")
    # While it is being composed, a few of the crowd's may pass.
    assert place - before < 60


@dataclass(slots=True)
class _Noting(ScriptedProvider):
    """Notes when each mail was handed over."""

    clock: SetClock = field(default_factory=SetClock)
    moments: list[datetime] = field(default_factory=list)

    @override
    async def send(self, mail: RenderedMail) -> Outcome:
        self.moments.append(self.clock.now())
        return await ScriptedProvider.send(self, mail)


async def test_mails_that_waited_for_a_slow_relay_leave_no_faster_than_its_rate(
    ledger: Ledger, clock: SetClock
) -> None:
    second = timedelta(seconds=1)
    await observe(ledger.pool, "account:default", limit=1, window=second, now=NOON)
    messages = await ledger.messages(5)
    provider = _Noting(gate=asyncio.Event(), clock=clock)

    async def a_moment_later(state: str, count: int) -> bool:
        clock.advance(second / 10)
        return (await ledger.states()).get(state, 0) >= count

    async with running(a_mailroom(ledger.pool, provider, clock, concurrency=1, renew_seconds=0.02)):
        await until(lambda: _holds(provider.now_sending == 1), what="the wire is full")
        await until(lambda: a_moment_later("claimed", 2), what="others wait at the desk")
        assert provider.gate is not None
        provider.gate.set()
        await until(lambda: a_moment_later("sent", len(messages)), what="all are sent")
    assert all(later - sooner >= second for sooner, later in pairwise(provider.moments))


async def test_slow_templates_of_one_brand_do_not_hold_up_another(ledger: Ledger, clock: SetClock) -> None:
    slow = "{% for i in (1..100) %}{% for j in (1..99) %}{{ i | times: j }}{% endfor %}{% endfor %}"
    await ledger.pool.execute("UPDATE drip_steps SET body_text = $1", slow * 4)
    crowd = await ledger.messages(60)
    other = await ledger.another_brand()
    single = await other.message(await other.subscriber("single"))
    provider = ScriptedProvider()
    async with running(a_mailroom(ledger.pool, provider, clock, concurrency=16)):
        await until_finished(ledger, [single])
        done = await ledger.pool.fetchval(
            "SELECT count(*) FROM messages WHERE id = ANY($1) AND finished_at IS NOT NULL", crowd
        )
    assert done < 60


async def test_a_template_fault_fails_its_message_and_no_other(ledger: Ledger, clock: SetClock) -> None:
    good = await ledger.message(await ledger.subscriber("good"))
    bad = await ledger.message(await ledger.subscriber("bad"))
    await ledger.pool.execute(
        "UPDATE drip_steps SET body_text = '{% if first_name == \"bad\" %}{{ 1 | divided_by: 0 }}{% endif %}'"
    )
    provider = ScriptedProvider()
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until_finished(ledger, [good, bad])
    row = await ledger.row(bad)
    assert (row["state"], row["attempts"], row["payload"]) == ("failed", 0, None)
    assert row["error"].startswith("template: ")
    assert await ledger.state(good) == "sent"


async def test_a_payload_that_cannot_be_read_is_tried_again_and_stops_nobody(
    ledger: Ledger, clock: SetClock
) -> None:
    damaged = await ledger.message(await ledger.subscriber("damaged"))
    good = await ledger.message(await ledger.subscriber("good"))
    await ledger.pool.execute("UPDATE messages SET payload = '{}' WHERE id = $1", damaged)
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock)):
        await until_finished(ledger, [good])
        await until(lambda: _tried(ledger, damaged), what="the damaged one has its entry")
    row = await ledger.row(damaged)
    assert (row["state"], row["error"]) == ("queued", "composing broke: KeyError: 'sender'")
    assert (row["attempts"], row["tries"]) == (0, 1)


@pytest.mark.parametrize(("lifetime", "state"), [(timedelta(0), "uncertain"), (timedelta(hours=1), "queued")])
async def test_a_provider_that_breaks_leaves_an_entry(
    ledger: Ledger, clock: SetClock, lifetime: timedelta, state: str
) -> None:
    message = await ledger.message(await ledger.subscriber())
    provider = ScriptedProvider(fault=RuntimeError("a defect"), idempotent_for=lifetime)
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until(lambda: _attempted(ledger, message, 1), what="the attempt is recorded")
    row = await ledger.row(message)
    assert (row["state"], row["error"]) == (state, "scripted broke: RuntimeError: a defect")


async def test_a_crash_behind_the_final_dot_is_uncertain_and_never_repeated(
    ledger: Ledger, clock: SetClock
) -> None:
    message = await ledger.message(await ledger.subscriber())
    async with smtp_sink() as sink:
        sink.hold = asyncio.Event()
        provider = SmtpProvider(host="127.0.0.1", port=sink.port, tls=SmtpTls.NONE)
        async with killed(a_mailroom(ledger.pool, provider, clock)):
            await until(lambda: _holds(len(sink.mails) == 1), what="the relay has the mail")
        assert await ledger.state(message) == "sending"
        sink.hold.set()
        sink.hold = None
        clock.advance(timedelta(minutes=2))
        async with running(a_mailroom(ledger.pool, provider, clock)):
            await until_finished(ledger, [message])
        await provider.close()
        assert await ledger.state(message) == "uncertain"
        assert len(sink.mails) == 1


async def test_a_crash_before_the_record_is_healed_by_the_same_key(ledger: Ledger, clock: SetClock) -> None:
    message = await ledger.message(await ledger.subscriber())
    async with fake_resend() as fake:
        provider = ResendProvider(url=fake.url, api_key=API_KEY, connections=4)
        fake.hold_answer = asyncio.Event()
        async with killed(a_mailroom(ledger.pool, provider, clock)):
            await until(lambda: _holds(len(fake.mails) == 1), what="Resend has the mail")
        assert await ledger.state(message) == "sending"
        fake.hold_answer.set()
        clock.advance(timedelta(minutes=2))
        async with running(a_mailroom(ledger.pool, provider, clock)):
            await until_finished(ledger, [message])
        await provider.close()
        row = await ledger.row(message)
        assert (row["state"], row["attempts"]) == ("sent", 2)
        assert len(fake.mails) == 1


async def test_what_may_have_arrived_through_one_provider_is_not_sent_by_another(
    ledger: Ledger, clock: SetClock
) -> None:
    message = await ledger.message(await ledger.subscriber())
    async with fake_resend() as fake:
        before = ResendProvider(url=fake.url, api_key=API_KEY, connections=4)
        fake.break_after_taking = True
        async with running(a_mailroom(ledger.pool, before, clock)):
            await until(lambda: _attempted(ledger, message, 1), what="the answer is lost")
        await before.close()
    clock.advance(timedelta(hours=1))
    now = ScriptedProvider()
    with capture_logs() as lines:
        async with running(a_mailroom(ledger.pool, now, clock)):
            await until_finished(ledger, [message])
    assert await ledger.state(message) == "uncertain"
    assert now.mails == []
    (told,) = [line for line in lines if line["event"] == "message.uncertain"]
    assert (told["message_id"], told["attempt"], told["provider"]) == (message, 1, "resend")


async def test_a_stop_finishes_the_wire_and_puts_the_rest_back(ledger: Ledger, clock: SetClock) -> None:
    await ledger.messages(16)
    provider = ScriptedProvider(gate=asyncio.Event())
    async with running(a_mailroom(ledger.pool, provider, clock, concurrency=3)) as stop:
        await until(
            lambda: _counts(ledger, sending=3, claimed=6, queued=7), what="three on the wire, six behind"
        )
        stop.set()
        await until(lambda: _counts(ledger, sending=3, queued=13), what="the claimed are back")
        assert provider.gate is not None
        provider.gate.set()
    assert await ledger.states() == {"sent": 3, "queued": 13}
    assert await ledger.pool.fetchval("SELECT count(*) FROM messages WHERE lease_token IS NOT NULL") == 0


async def test_a_stop_finishes_the_wire_though_days_shares_cannot_be_given_back(
    ledger: Ledger, clock: SetClock
) -> None:
    sent = await ledger.messages(9)
    await ledger.pool.execute(
        "INSERT INTO senders (brand_id, name, address, kinds, daily_limit) VALUES ($1, 'A', 'a@acme.example', '{drip}', 99)",
        ledger.brand_id,
    )
    await _refuse_updates(ledger, "sending_days", "new.used < old.used")
    provider = ScriptedProvider(gate=asyncio.Event())
    async with running(a_mailroom(ledger.pool, provider, clock, concurrency=3)) as stop:
        await until(lambda: _counts(ledger, sending=3, claimed=6), what="three on the wire, six behind")
        stop.set()
        await until(lambda: _counts(ledger, sending=3, queued=6), what="the claimed are back")
        assert provider.gate is not None
        provider.gate.set()
        await until_finished(ledger, sent[:3])
    assert await ledger.states() == {"sent": 3, "queued": 6}


async def test_a_mail_whose_failure_cannot_be_recorded_goes_on_when_its_lease_ends(
    ledger: Ledger, clock: SetClock
) -> None:
    good = await ledger.message(await ledger.subscriber("good"))
    bad = await ledger.message(await ledger.subscriber("bad"))
    await ledger.pool.execute(
        "UPDATE drip_steps SET body_text = '{% if first_name == \"bad\" %}{{ 1 | divided_by: 0 }}{% endif %}'"
    )
    await _refuse_updates(ledger, "messages", "new.state = 'failed'")
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), clock, renew_seconds=0.02)):
        await until_finished(ledger, [good])
        assert await ledger.state(bad) == "claimed"
        await ledger.pool.execute("DROP TRIGGER refused ON messages")
        clock.advance(timedelta(minutes=1))
        await until_finished(ledger, [bad])
    assert await ledger.state(bad) == "failed"


async def _refuse_updates(ledger: Ledger, table: str, condition: str) -> None:
    """Every statement fails that would change a row so."""
    await ledger.pool.execute(
        f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
        CREATE TRIGGER refused BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"""
    )


async def test_a_mail_that_outlived_its_lease_cannot_overwrite_its_successor(
    ledger: Ledger, clock: SetClock
) -> None:
    message = await ledger.message(await ledger.subscriber())
    slow = ScriptedProvider(gate=asyncio.Event(), outcome=Failed(reason="too late"))
    async with running(a_mailroom(ledger.pool, slow, clock)):
        await until(lambda: _holds(slow.now_sending == 1), what="the mail is on the wire")
        await ledger.pool.execute(
            "UPDATE messages SET state = 'sent', lease_token = NULL, finished_at = now() WHERE id = $1",
            message,
        )
        assert slow.gate is not None
        slow.gate.set()
    row = await ledger.row(message)
    assert (row["state"], row["error"]) == ("sent", None)


async def test_what_a_mailer_has_in_hand_stays_its_own_however_slow_the_provider_is(
    ledger: Ledger, clock: SetClock
) -> None:
    message = await ledger.message(await ledger.subscriber())
    slow = ScriptedProvider(gate=asyncio.Event())
    async with (
        running(a_mailroom(ledger.pool, slow, clock, renew_seconds=0.02)),
        running(a_mailroom(ledger.pool, slow, clock, renew_seconds=0.02)),
    ):
        await until(lambda: _holds(slow.now_sending == 1), what="the mail is on the wire")
        for _ in range(5):
            clock.advance(timedelta(seconds=20))
            lease_end = clock.now() + timedelta(seconds=20)
            await until(partial(_leased_beyond, ledger, message, lease_end), what="the lease is renewed")
        assert slow.gate is not None
        slow.gate.set()
        await until_finished(ledger, [message])
    assert await ledger.state(message) == "sent"
    assert (await ledger.row(message))["attempts"] == 1


async def test_a_mail_that_still_stands_in_line_under_a_claim_that_has_ended_is_sent_once(
    ledger: Ledger, clock: SetClock
) -> None:
    """The database was away from the first mailer; another one put its mails back, and it claims them once more."""
    sent = await ledger.messages(6)
    provider = ScriptedProvider(gate=asyncio.Event())
    room = a_mailroom(ledger.pool, provider, clock, concurrency=4)

    def waits(mails: int) -> bool:
        return sum(len(desk._waiting) for desk in room._accounts._desks.values()) == mails

    async with running(room):
        await until(lambda: _holds(provider.now_sending == 4 and waits(2)), what="two stand in line")
        await ledger.pool.execute(
            "UPDATE messages SET state = 'queued', lease_token = NULL, lease_until = NULL WHERE state = 'claimed'"
        )
        room.wake()
        await until(lambda: _holds(waits(4)), what="both stand there twice")
        assert provider.gate is not None
        provider.gate.set()
        await until_finished(ledger, sent)
    assert sorted(mail.recipient for mail in provider.mails) == [f"reader{n}@example.org" for n in range(6)]


async def test_what_is_known_to_be_sent_is_sent_though_another_mailer_has_called_it_uncertain(
    ledger: Ledger, clock: SetClock
) -> None:
    """The first one could not renew its leases for longer than they last."""
    message = await ledger.message(await ledger.subscriber())
    slow = ScriptedProvider(gate=asyncio.Event())
    async with running(a_mailroom(ledger.pool, slow, clock, renew_seconds=3600)):
        await until(lambda: _holds(slow.now_sending == 1), what="the mail is on the wire")
        await messages.expire(
            ledger.pool,
            now=clock.now() + timedelta(minutes=1),
            keys=KnownKeys(own="scripted", kept={}),
            max_tries=MAX_TRIES,
            limit=10,
        )
        assert await ledger.state(message) == "uncertain"
        assert slow.gate is not None
        slow.gate.set()
        await until(lambda: _state_is(ledger, message, "sent"), what="it is sent after all")
    assert await ledger.attempts(message) == [(1, "sent", None)]


async def test_a_mailer_that_was_cut_off_takes_none_of_its_own_mails_for_lost(
    ledger: Ledger, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease has ended, and it looks for such leases before it has told anybody that it lives."""
    monkeypatch.setattr(mailroom, "_SWEEP_SECONDS", 0.05)
    message = await ledger.message(await ledger.subscriber())
    slow = ScriptedProvider(gate=asyncio.Event())
    async with running(a_mailroom(ledger.pool, slow, clock, renew_seconds=3600)):
        await until(lambda: _holds(slow.now_sending == 1), what="the mail is on the wire")
        clock.advance(timedelta(minutes=5))
        await until(partial(_leased_beyond, ledger, message, clock.now()), what="the lease is renewed")
        assert await ledger.attempts(message) == []
        assert slow.gate is not None
        slow.gate.set()
        await until_finished(ledger, [message])
    assert await ledger.state(message) == "sent"


async def test_an_outcome_outlives_a_lock_that_is_held_for_longer_than_a_statement_may_take(
    ledger: Ledger, clock: SetClock, database: Database
) -> None:
    message = await ledger.message(await ledger.subscriber())
    impatient = await new_pool(
        DatabaseSettings(database_url=database.url),
        name="test",
        size=5,
        server_settings={"statement_timeout": "200"},
    )
    slow = ScriptedProvider(gate=asyncio.Event())
    with capture_logs() as lines:
        async with running(a_mailroom(impatient, slow, clock)):
            await until(lambda: _holds(slow.now_sending == 1), what="the mail is on the wire")
            async with ledger.pool.acquire() as other, other.transaction():
                await other.execute("LOCK TABLE messages IN SHARE MODE")
                assert slow.gate is not None
                slow.gate.set()
                await until(partial(_was_cancelled, lines), what="the statement was cancelled")
            await until_finished(ledger, [message])
    await impatient.close()
    assert await ledger.state(message) == "sent"


async def _was_cancelled(lines: list[Any]) -> bool:
    return any(
        line["event"] == "database.unable" and line["reason"] == "QueryCanceledError" for line in lines
    )


async def _leased_beyond(ledger: Ledger, message: int, moment: datetime) -> bool:
    lease_until = (await ledger.row(message))["lease_until"]
    return lease_until is not None and lease_until > moment


async def test_a_wake_up_is_heard_at_once(ledger: Ledger, clock: SetClock) -> None:
    provider = ScriptedProvider()
    room = a_mailroom(ledger.pool, provider, clock)
    async with running(room):
        message = await ledger.message(await ledger.subscriber())
        room.wake()
        await until_finished(ledger, [message])


async def test_a_database_that_comes_back_finds_the_mailroom_waiting(ledger: Ledger, clock: SetClock) -> None:
    """Cut off from the database with a mail on the wire, it still records what became of it."""
    first = await ledger.message(await ledger.subscriber("first"))
    provider = ScriptedProvider(gate=asyncio.Event())
    async with running(a_mailroom(ledger.pool, provider, clock)):
        await until(lambda: _holds(provider.now_sending == 1), what="the mail is on the wire")
        await ledger.pool.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        assert provider.gate is not None
        provider.gate.set()
        await until(lambda: _state_is(ledger, first, "sent"), what="the outcome is recorded")
        second = await ledger.message(await ledger.subscriber("second"))
        await until_finished(ledger, [second])
    assert len(provider.mails) == 2


async def _holds(fact: bool) -> bool:
    return fact


async def _state_is(ledger: Ledger, message: int, state: str) -> bool:
    return await ledger.state(message) == state


async def _attempted(ledger: Ledger, message: int, attempts: int) -> bool:
    row = await ledger.row(message)
    return row["attempts"] == attempts and row["state"] not in {"claimed", "sending"}


async def _tried(ledger: Ledger, message: int) -> bool:
    return bool((await ledger.row(message))["tries"] == 1)


async def _counts(ledger: Ledger, **expected: int) -> bool:
    return await ledger.states() == expected
