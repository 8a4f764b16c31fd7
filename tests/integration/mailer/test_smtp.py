from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import dkim as dkimpy
import pytest

from mailement_mailer.mailbox import Mailbox
from mailement_mailer.providers.dkim import DkimAlgorithm, new_key, record_value
from mailement_mailer.providers.port import Failed, Fault, RetryLater, Sent, Uncertain
from mailement_mailer.providers.smtp import SmtpProvider
from mailement_mailer.settings import SmtpTls
from tests.support.certificates import self_signed
from tests.support.mails import a_mail
from tests.support.smtp_sink import HANG_UP, SmtpSink, smtp_sink


@pytest.fixture
async def sink() -> AsyncIterator[SmtpSink]:
    async with smtp_sink() as sink:
        yield sink


@pytest.fixture
async def provider(sink: SmtpSink) -> AsyncIterator[SmtpProvider]:
    provider = SmtpProvider(host="127.0.0.1", port=sink.port, tls=SmtpTls.NONE)
    yield provider
    await provider.close()


async def test_what_arrives_is_what_was_sent(sink: SmtpSink, provider: SmtpProvider) -> None:
    text = "Hello\n.\n..two dots\n.leading\n"
    outcome = await provider.send(a_mail(text=text, html=None))
    assert outcome == Sent(provider_message_id="queued as 42")
    (envelope,) = sink.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("news@acme.example", ["ada@example.org"])
    assert isinstance(envelope.content, bytes)
    assert message_from_bytes(envelope.content, policy=default).get_content().replace("\r\n", "\n") == text


async def test_connections_are_kept_and_shared_by_turns(sink: SmtpSink, provider: SmtpProvider) -> None:
    for number in range(5):
        await provider.send(a_mail(f"k{number}"))
    assert (len(sink.mails), sink.connections) == (5, 1)


async def test_mails_at_the_same_time_have_connections_of_their_own(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    outcomes = await asyncio.gather(*(provider.send(a_mail(f"k{number}")) for number in range(8)))
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert 1 < sink.connections <= 8


async def test_a_connection_that_was_closed_meanwhile_costs_no_attempt(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    await provider.send(a_mail("k1"))
    sink.on_mail = HANG_UP
    refused = await provider.send(a_mail("k2"))
    assert isinstance(refused, RetryLater)
    sink.on_mail = None
    assert isinstance(await provider.send(a_mail("k3")), Sent)
    assert len(sink.mails) == 2
    sink.hang_up_all()
    assert isinstance(await provider.send(a_mail("k4")), Sent)


async def test_421_drops_the_connection(sink: SmtpSink, provider: SmtpProvider) -> None:
    sink.on_mail = "421 4.3.2 going down"
    assert isinstance(await provider.send(a_mail()), RetryLater)
    sink.on_mail = None
    assert isinstance(await provider.send(a_mail()), Sent)
    assert sink.connections == 2


async def test_a_connection_survives_a_refused_recipient(sink: SmtpSink, provider: SmtpProvider) -> None:
    sink.on_recipient = "550 5.1.1 no such user"
    assert await provider.send(a_mail()) == Failed(
        reason="550 5.1.1 no such user", code="550", enhanced="5.1.1", fault=Fault.RECIPIENT
    )
    sink.on_recipient = None
    assert isinstance(await provider.send(a_mail()), Sent)
    assert sink.connections == 1


@pytest.mark.parametrize(
    ("command", "reply", "expected"),
    [
        ("on_mail", "550 5.7.1 not you", Failed),
        ("on_mail", "451 4.7.1 slower", RetryLater),
        ("on_recipient", "452 4.2.2 full", RetryLater),
        ("on_recipient", HANG_UP, RetryLater),
        ("on_data", "554 5.6.0 no", Failed),
        ("on_data", "451 4.3.0 later", RetryLater),
        ("on_data", HANG_UP, RetryLater),
        ("after_dot", "554 5.7.1 spam", Failed),
        ("after_dot", "451 4.7.0 greylisted", RetryLater),
        ("after_dot", "421 4.3.2 closing", RetryLater),
        ("after_dot", HANG_UP, Uncertain),
        ("after_dot", "nonsense", Uncertain),
    ],
)
async def test_each_answer_has_its_meaning(
    sink: SmtpSink, provider: SmtpProvider, command: str, reply: str, expected: type
) -> None:
    setattr(sink, command, reply)
    assert isinstance(await provider.send(a_mail()), expected)


async def test_a_relay_that_wants_a_login_is_no_fault_of_the_mail(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    sink.on_mail = "530 5.7.0 authentication required"
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, RetryLater)
    assert outcome.provider_wide


async def test_no_relay_is_no_fault_of_the_mail(unused_port: int) -> None:
    provider = SmtpProvider(host="127.0.0.1", port=unused_port, tls=SmtpTls.NONE)
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, RetryLater)
    assert outcome.provider_wide


async def test_a_login_that_the_relay_does_not_offer_is_no_fault_of_the_mail(sink: SmtpSink) -> None:
    provider = SmtpProvider(host="127.0.0.1", port=sink.port, tls=SmtpTls.NONE, user="me", password="secret")
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, RetryLater)
    assert outcome.provider_wide


async def test_a_login_that_is_refused_is_no_fault_of_the_mail() -> None:
    async with smtp_sink(password="secret") as sink:
        wrong, right = (
            SmtpProvider(host="127.0.0.1", port=sink.port, tls=SmtpTls.NONE, user="me", password=password)
            for password in ("wrong", "secret")
        )
        outcome = await wrong.send(a_mail())
        assert isinstance(outcome, RetryLater)
        assert (outcome.provider_wide, outcome.code, outcome.fault) == (True, "535", Fault.AUTH)
        assert "wrong" not in outcome.reason
        assert isinstance(await right.send(a_mail()), Sent)
        await right.close()


async def test_a_greylisted_mail_comes_back_when_it_was_told_to(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    sink.on_recipient = "451 4.7.1 Greylisted, try again in 5 minutes"
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, RetryLater)
    assert outcome.after == timedelta(seconds=310)
    assert not outcome.held_back
    assert not outcome.provider_wide


async def test_too_much_for_the_relay_is_no_fault_of_the_mail(sink: SmtpSink, provider: SmtpProvider) -> None:
    sink.on_mail = "451 4.7.0 too many mails from you"
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, RetryLater)
    assert (outcome.provider_wide, outcome.fault) == (True, Fault.RATE)


async def test_an_address_in_an_answer_is_not_kept(sink: SmtpSink, provider: SmtpProvider) -> None:
    sink.on_recipient = "550 5.1.1 <ada@example.org>: Recipient address rejected"
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, Failed)
    assert outcome.reason == "550 5.1.1 <address>: Recipient address rejected"


@pytest.mark.parametrize("algorithm", DkimAlgorithm)
async def test_a_mail_arrives_with_the_signature_of_its_senders_domain(
    sink: SmtpSink, algorithm: DkimAlgorithm
) -> None:
    keys = {"acme.example": new_key(domain="acme.example", selector="m1", algorithm=algorithm)}
    provider = SmtpProvider(
        host="127.0.0.1",
        port=sink.port,
        tls=SmtpTls.NONE,
        signer=lambda mail: keys.get(mail.sender.domain),
    )
    await provider.send(a_mail(text=".\n..\nFrom me\n"))
    await provider.send(a_mail(sender=Mailbox(name="", address="news@other.example")))
    await provider.close()
    signed, unsigned = (mail.content for mail in sink.mails)
    assert isinstance(signed, bytes)
    assert isinstance(unsigned, bytes)
    verify: Callable[..., bool] = dkimpy.verify
    record = record_value(keys["acme.example"]).encode()
    assert verify(signed, dnsfunc=lambda name, timeout: record)
    assert not verify(signed.replace(b"Welcome", b"Farewell"), dnsfunc=lambda name, timeout: record)
    assert b"DKIM-Signature" not in unsigned


async def test_tls_that_is_demanded_and_not_offered_sends_nothing(sink: SmtpSink) -> None:
    provider = SmtpProvider(host="127.0.0.1", port=sink.port, tls=SmtpTls.STARTTLS)
    assert isinstance(await provider.send(a_mail()), RetryLater)
    assert sink.mails == []


async def test_opportunistic_tls_goes_without_where_none_is_offered(sink: SmtpSink) -> None:
    provider = SmtpProvider(host="127.0.0.1", port=sink.port, tls=SmtpTls.OPPORTUNISTIC)
    assert isinstance(await provider.send(a_mail()), Sent)
    await provider.close()


@pytest.mark.parametrize(
    ("tls", "outcome", "encrypted"), [(SmtpTls.STARTTLS, RetryLater, 0), (SmtpTls.OPPORTUNISTIC, Sent, 1)]
)
async def test_a_certificate_that_nobody_vouches_for_is_taken_only_where_none_is_demanded(
    tmp_path: Path, tls: SmtpTls, outcome: type, encrypted: int
) -> None:
    async with smtp_sink(tls=self_signed(tmp_path)) as sink:
        provider = SmtpProvider(host="127.0.0.1", port=sink.port, tls=tls)
        answer = await provider.send(a_mail())
        assert isinstance(answer, outcome)
        assert not isinstance(answer, RetryLater) or answer.provider_wide
        assert (len(sink.mails), sink.encrypted) == (encrypted, encrypted)
        await provider.close()


async def test_an_address_outside_ascii_arrives_where_it_is_understood(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    assert isinstance(await provider.send(a_mail(recipient="düsentrieb@example.org")), Sent)
    assert sink.mails[0].rcpt_tos == ["düsentrieb@example.org"]


async def test_an_unusual_local_part_arrives(sink: SmtpSink, provider: SmtpProvider) -> None:
    assert isinstance(await provider.send(a_mail(recipient='"a b"@example.org')), Sent)


async def test_a_send_that_is_cancelled_leaves_no_half_used_connection(
    sink: SmtpSink, provider: SmtpProvider
) -> None:
    sink.hold = asyncio.Event()
    sending = asyncio.create_task(provider.send(a_mail("k1")))
    async with asyncio.timeout(5):
        while not sink.mails:
            await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    sink.hold.set()
    sink.hold = None
    assert isinstance(await provider.send(a_mail("k2")), Sent)
    assert sink.connections == 2
