"""What every provider promises, asked of each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailement_mailer.providers.file import FileProvider
from mailement_mailer.providers.port import BatchProvider, Failed, Provider, RetryLater, Sent, Uncertain
from mailement_mailer.providers.resend import ResendProvider
from mailement_mailer.providers.smtp import SmtpProvider
from mailement_mailer.settings import SmtpTls
from tests.support.fake_resend import API_KEY, fake_resend
from tests.support.mails import a_mail
from tests.support.smtp_sink import HANG_UP, smtp_sink


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A provider and the hands on its other end; None where that end cannot do such a thing."""

    provider: Provider
    arrived: Callable[[], int]
    refuse_for_good: Callable[[], None] | None
    refuse_for_now: Callable[[], object]
    hang_up_after_taking: Callable[[], None] | None


@pytest.fixture(params=["smtp", "resend", "file"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "smtp":
                rig = await _smtp(stack)
            case "resend":
                rig = await _resend(stack)
            case _:
                rig = _file(tmp_path)
        stack.push_async_callback(rig.provider.close)
        yield rig


async def _smtp(stack: AsyncExitStack) -> Rig:
    sink = await stack.enter_async_context(smtp_sink())
    return Rig(
        provider=SmtpProvider(host="127.0.0.1", port=sink.port, tls=SmtpTls.NONE),
        arrived=lambda: len(sink.mails),
        refuse_for_good=lambda: setattr(sink, "on_recipient", "550 5.1.1 no such user"),
        refuse_for_now=lambda: setattr(sink, "on_recipient", "451 4.3.0 later"),
        hang_up_after_taking=lambda: setattr(sink, "after_dot", HANG_UP),
    )


async def _resend(stack: AsyncExitStack) -> Rig:
    fake = await stack.enter_async_context(fake_resend())
    return Rig(
        provider=ResendProvider(url=fake.url, api_key=API_KEY, connections=4),
        arrived=lambda: len(fake.mails),
        refuse_for_good=lambda: fake.refuse_next(422, "validation_error"),
        refuse_for_now=lambda: fake.refuse_next(500, "application_error"),
        hang_up_after_taking=lambda: setattr(fake, "drop", True),
    )


def _file(folder: Path) -> Rig:
    target = folder / "mail"
    return Rig(
        provider=FileProvider(target),
        arrived=lambda: len(list(target.glob("*.eml"))),
        refuse_for_good=None,
        refuse_for_now=lambda: target.write_text("a file where the folder should be"),
        hang_up_after_taking=None,
    )


async def test_sent_is_sent(rig: Rig) -> None:
    assert isinstance(await rig.provider.send(a_mail()), Sent)
    assert rig.arrived() == 1


async def test_two_keys_are_two_mails(rig: Rig) -> None:
    await rig.provider.send(a_mail("drip:1:1"))
    await rig.provider.send(a_mail("drip:1:2"))
    assert rig.arrived() == 2


async def test_the_same_key_twice_is_one_mail_where_keys_mean_something(rig: Rig) -> None:
    first = await rig.provider.send(a_mail())
    second = await rig.provider.send(a_mail())
    if rig.provider.idempotent_for:
        assert rig.arrived() == 1
        assert first == second
    else:
        assert rig.arrived() == 2


async def test_a_refusal_for_good_fails(rig: Rig) -> None:
    if rig.refuse_for_good is None:
        pytest.skip("this provider refuses nothing for good")
    rig.refuse_for_good()
    assert isinstance(await rig.provider.send(a_mail()), Failed)
    assert rig.arrived() == 0


async def test_a_refusal_for_now_is_tried_again(rig: Rig) -> None:
    rig.refuse_for_now()
    outcome = await rig.provider.send(a_mail())
    assert isinstance(outcome, RetryLater)
    assert outcome.reason
    assert rig.arrived() == 0


async def test_an_answer_that_is_lost_behind_the_mail_is_told_as_what_it_is(rig: Rig) -> None:
    if rig.hang_up_after_taking is None:
        pytest.skip("this provider's answer cannot be lost")
    rig.hang_up_after_taking()
    outcome = await rig.provider.send(a_mail())
    assert isinstance(outcome, RetryLater if rig.provider.idempotent_for else Uncertain)
    assert rig.arrived() == 1


async def test_a_batch_is_as_good_as_its_mails(rig: Rig) -> None:
    if not isinstance(rig.provider, BatchProvider):
        pytest.skip("this provider takes one mail at a time")
    mails = [a_mail("drip:1:1"), a_mail("drip:1:2"), a_mail("drip:1:3")]
    first = await rig.provider.send_batch("batch:1", mails)
    assert {type(outcome) for outcome in first} == {Sent}
    assert rig.arrived() == 3
    assert await rig.provider.send_batch("batch:1", mails) == first
    assert rig.arrived() == 3


async def test_a_batch_that_is_refused_for_now_is_tried_again_whole(rig: Rig) -> None:
    if not isinstance(rig.provider, BatchProvider):
        pytest.skip("this provider takes one mail at a time")
    rig.refuse_for_now()
    outcomes = await rig.provider.send_batch("batch:1", [a_mail("drip:1:1"), a_mail("drip:1:2")])
    assert [type(outcome) for outcome in outcomes] == [RetryLater, RetryLater]
    assert rig.arrived() == 0


async def test_closing_twice_is_harmless(rig: Rig) -> None:
    await rig.provider.send(a_mail())
    await rig.provider.close()
    await rig.provider.close()
