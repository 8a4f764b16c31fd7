"""Each destination gets no more at once than it takes, and one that sent us away does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from mailement_mailer.providers.destinations import Destinations, Group, Limits
from mailement_mailer.providers.port import Fault, Outcome, RetryLater, Sent
from mailement_mailer.providers.smtp import SmtpProvider
from mailement_mailer.settings import SmtpTls
from tests.support.mails import a_mail
from tests.support.smtp_sink import SmtpSink, smtp_sink

GOOGLE = Group(
    name="google",
    limits=Limits(connections=2, mails=3),
    domains=frozenset({"gmail.com", "googlemail.com"}),
)


@pytest.fixture
async def sink() -> AsyncIterator[SmtpSink]:
    async with smtp_sink() as sink:
        yield sink


@pytest.fixture
async def provider(sink: SmtpSink) -> AsyncIterator[SmtpProvider]:
    provider = SmtpProvider(
        host="127.0.0.1", port=sink.port, tls=SmtpTls.NONE, destinations=Destinations([GOOGLE])
    )
    yield provider
    await provider.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def insist(provider: SmtpProvider, recipient: str) -> Outcome:
    """As the mailroom does: comes again for as long as the mail is only held back."""
    while True:
        outcome = await provider.send(a_mail(recipient=recipient))
        if not (isinstance(outcome, RetryLater) and outcome.held_back):
            return outcome
        await asyncio.sleep(0.01)


async def test_a_destination_gets_no_more_at_once_than_its_limit_while_others_pass(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    sink.hold, sink.held_domains = asyncio.Event(), frozenset({"gmail.com"})
    to_google = [asyncio.create_task(insist(provider, f"a{number}@gmail.com")) for number in range(8)]
    await until(lambda: sink.under_way["gmail.com"] == 2)

    others = await asyncio.gather(*(insist(provider, f"b{number}@example.org") for number in range(12)))
    assert all(isinstance(outcome, Sent) for outcome in others)
    assert sink.under_way["gmail.com"] == 2
    assert not any(task.done() for task in to_google)

    sink.hold.set()
    assert all(isinstance(outcome, Sent) for outcome in await asyncio.gather(*to_google))
    assert sink.most_at_once["gmail.com"] == 2
    assert sink.most_at_once["example.org"] > 2
    assert len(sink.mails) == 20


async def test_domains_of_one_mailbox_provider_share_its_limit(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    sink.hold = asyncio.Event()
    recipients = [f"a{number}@{domain}" for number in range(3) for domain in GOOGLE.domains]
    sending = [asyncio.create_task(insist(provider, recipient)) for recipient in recipients]
    await until(lambda: sink.under_way.total() == 2)
    sink.hold.set()
    assert all(isinstance(outcome, Sent) for outcome in await asyncio.gather(*sending))
    assert max(sink.most_at_once.values()) <= 2
    assert len(sink.mails) == 6


async def test_a_connection_carries_only_so_many_mails_to_one_destination(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    for _ in range(3):
        await provider.send(a_mail(recipient="ada@gmail.com"))
    await provider.send(a_mail(recipient="ada@example.org"))
    assert sink.connections == 1
    await provider.send(a_mail(recipient="ada@googlemail.com"))
    await provider.send(a_mail(recipient="ada@example.org"))
    assert sink.connections == 2
    assert len(sink.mails) == 6


async def test_a_destination_that_sent_us_away_rests_and_does_not_stop_the_others(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    sink.only_at = "gmail.com"
    sink.on_recipient = "421 4.7.28 unusual rate of unsolicited mail"
    # Two connections are open already: the refusal is not asked for again over the other one.
    await asyncio.gather(*(provider.send(a_mail(recipient=f"{name}@example.org")) for name in "ab"))
    refused = await provider.send(a_mail(recipient="ada@gmail.com"))
    assert isinstance(refused, RetryLater)
    assert refused.after is not None
    assert timedelta(minutes=9) < refused.after <= timedelta(minutes=10)
    assert (refused.held_back, refused.provider_wide) == (False, False)
    assert (refused.code, refused.enhanced, refused.fault) == ("421", "4.7.28", Fault.RATE)

    sink.on_recipient = None
    held_back = await provider.send(a_mail(recipient="bob@googlemail.com"))
    assert isinstance(held_back, RetryLater)
    assert held_back.after is not None
    assert timedelta(minutes=9) < held_back.after < timedelta(minutes=11)
    assert (held_back.held_back, held_back.provider_wide) == (True, False)
    assert [address for address in sink.asked if not address.endswith("@example.org")] == ["ada@gmail.com"]

    assert isinstance(await provider.send(a_mail(recipient="ada@example.org")), Sent)


async def test_mails_that_wait_for_their_turn_hear_at_once_that_the_destination_rests(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    sink.hold = asyncio.Event()
    sink.after_dot = "421 4.7.0 [TSS04] unexpected volume"
    sending = [
        asyncio.create_task(provider.send(a_mail(recipient=f"a{number}@gmail.com"))) for number in range(5)
    ]
    await until(lambda: sink.under_way["gmail.com"] == 2)
    sink.hold.set()
    outcomes = await asyncio.gather(*sending)
    assert all(isinstance(outcome, RetryLater) for outcome in outcomes)
    assert all(
        outcome.after is not None and outcome.after > timedelta(hours=1, minutes=59)
        for outcome in outcomes
        if isinstance(outcome, RetryLater)
    )
    assert len(sink.asked) == 2


async def test_a_mail_that_is_cancelled_gives_its_place_away(sink: SmtpSink, provider: SmtpProvider) -> None:
    sink.hold = asyncio.Event()
    under_way = [asyncio.create_task(insist(provider, f"a{number}@gmail.com")) for number in range(2)]
    await until(lambda: sink.under_way["gmail.com"] == 2)
    waiting = asyncio.create_task(provider.send(a_mail(recipient="b@gmail.com")))
    await asyncio.sleep(0)
    for task in (waiting, under_way[0]):
        task.cancel()
    await asyncio.gather(waiting, under_way[0], return_exceptions=True)
    sink.hold.set()
    later = await asyncio.gather(*(insist(provider, f"c{number}@gmail.com") for number in range(4)))
    assert all(isinstance(outcome, Sent) for outcome in (*later, await under_way[1]))
    assert "b@gmail.com" not in sink.asked


async def test_an_unreachable_relay_takes_no_places(unused_port: int) -> None:
    provider = SmtpProvider(
        host="127.0.0.1", port=unused_port, tls=SmtpTls.NONE, destinations=Destinations([GOOGLE])
    )
    for _ in range(5):
        outcome = await provider.send(a_mail(recipient="ada@gmail.com"))
        assert isinstance(outcome, RetryLater)
        assert outcome.provider_wide
