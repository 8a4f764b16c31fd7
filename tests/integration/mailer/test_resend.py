from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from mailement_mailer.providers.port import (
    Failed,
    Fault,
    RateLimit,
    RenderedMail,
    RetryLater,
    Sent,
    Uncertain,
)
from mailement_mailer.providers.resend import ResendProvider
from mailement_newsletter.ids import MessageId
from tests.support.fake_resend import API_KEY, FakeResend, fake_resend
from tests.support.mails import LINK, a_mail


@pytest.fixture
async def fake() -> AsyncIterator[FakeResend]:
    async with fake_resend() as fake:
        yield fake


@pytest.fixture
async def provider(fake: FakeResend) -> AsyncIterator[ResendProvider]:
    provider = ResendProvider(url=fake.url, api_key=API_KEY, connections=4)
    yield provider
    await provider.close()


async def test_the_mail_goes_over_in_resends_words(fake: FakeResend, provider: ResendProvider) -> None:
    await provider.send(a_mail())
    assert fake.mails == [
        {
            "from": '"Acme News" <news@acme.example>',
            "to": ["ada@example.org"],
            "subject": "Welcome",
            "html": "<p>Hello Ada</p>",
            "text": "Hello Ada\n",
            "headers": {"List-Unsubscribe": f"<{LINK}>"},
            "tags": [{"name": "message", "value": "7"}],
        }
    ]


async def test_the_address_for_replies_is_a_field_of_resends(
    fake: FakeResend, provider: ResendProvider
) -> None:
    await provider.send(a_mail(headers={"Reply-To": '"Help" <help@acme.example>', "Precedence": "bulk"}))
    assert fake.mails[0]["reply_to"] == '"Help" <help@acme.example>'
    assert fake.mails[0]["headers"] == {"Precedence": "bulk"}


async def test_a_lost_answer_is_found_again_by_the_key(fake: FakeResend, provider: ResendProvider) -> None:
    fake.drop = True
    assert isinstance(await provider.send(a_mail()), RetryLater)
    fake.drop = False
    assert isinstance(await provider.send(a_mail()), Sent)
    assert len(fake.mails) == 1


@pytest.mark.parametrize(
    ("status", "name", "expected", "provider_wide"),
    [
        (400, "validation_error", Failed, False),
        (422, "missing_required_field", Failed, False),
        (413, "", Failed, False),
        (401, "missing_api_key", RetryLater, True),
        (403, "invalid_api_key", RetryLater, True),
        (403, "validation_error", RetryLater, False),
        (404, "not_found", RetryLater, True),
        (409, "concurrent_idempotent_requests", RetryLater, False),
        (409, "invalid_idempotent_request", Uncertain, False),
        (429, "rate_limit_exceeded", RetryLater, True),
        (429, "daily_quota_exceeded", RetryLater, True),
        (500, "application_error", RetryLater, False),
        (502, "", RetryLater, False),
        (302, "", RetryLater, False),
    ],
)
async def test_each_refusal_has_its_meaning(
    fake: FakeResend, provider: ResendProvider, status: int, name: str, expected: type, provider_wide: bool
) -> None:
    fake.refuse_next(status, name)
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, expected)
    if isinstance(outcome, RetryLater):
        assert outcome.provider_wide is provider_wide


async def test_a_fault_of_the_account_says_so(fake: FakeResend) -> None:
    provider = ResendProvider(url=fake.url, api_key="re_wrong", connections=1)
    outcome = await provider.send(a_mail())
    await provider.close()
    assert isinstance(outcome, RetryLater)
    assert outcome.reason.startswith("account: 403 invalid_api_key")


@pytest.mark.parametrize(
    ("given", "seconds"), [("3", 3), ("0", 1), ("soon", 1), ("999999999999", 3600), ("-5", 1)]
)
async def test_retry_after_is_obeyed_within_reason(
    fake: FakeResend, provider: ResendProvider, given: str, seconds: int
) -> None:
    fake.refuse_next(429, "rate_limit_exceeded", **{"Retry-After": given})
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, RetryLater)
    assert outcome.after == timedelta(seconds=seconds)


@pytest.mark.parametrize("answer", [b"<html>proxy</html>", b"[]", b'{"id": 7}', b""])
async def test_a_yes_without_an_id_is_asked_again(
    fake: FakeResend, provider: ResendProvider, answer: bytes
) -> None:
    fake.answer = answer
    assert isinstance(await provider.send(a_mail()), RetryLater)
    fake.answer = None
    assert isinstance(await provider.send(a_mail()), Sent)
    assert len(fake.mails) == 1


async def test_the_same_key_at_the_same_time_is_one_mail(fake: FakeResend, provider: ResendProvider) -> None:
    fake.slow = asyncio.Event()
    first = asyncio.create_task(provider.send(a_mail()))
    async with asyncio.timeout(5):
        while not fake.requests:
            await asyncio.sleep(0.01)
    second = await provider.send(a_mail())
    fake.slow.set()
    assert isinstance(second, RetryLater)
    assert isinstance(await first, Sent)
    assert len(fake.mails) == 1


async def test_a_changed_mail_under_an_old_key_is_not_sent(
    fake: FakeResend, provider: ResendProvider
) -> None:
    await provider.send(a_mail())
    assert isinstance(await provider.send(a_mail(subject="Other")), Uncertain)
    assert len(fake.mails) == 1


async def test_a_long_key_is_shortened_and_still_one_key(fake: FakeResend, provider: ResendProvider) -> None:
    key = "drip:" + "1" * 400
    assert await provider.send(a_mail(key)) == await provider.send(a_mail(key))
    assert len(fake.mails) == 1


async def test_no_resend_is_no_fault_of_the_mail(unused_port: int) -> None:
    provider = ResendProvider(url=f"http://127.0.0.1:{unused_port}", api_key=API_KEY, connections=1)
    outcome = await provider.send(a_mail())
    await provider.close()
    assert isinstance(outcome, RetryLater)
    assert outcome.provider_wide


def some_mails(count: int, **changes: object) -> list[RenderedMail]:
    return [
        a_mail(f"drip:{number}:1", id=MessageId(number), recipient=f"r{number}@example.org", **changes)
        for number in range(count)
    ]


async def test_a_hundred_mails_are_one_request(fake: FakeResend, provider: ResendProvider) -> None:
    outcomes = await provider.send_batch("batch:1", some_mails(provider.batch_max))
    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert (fake.requests, fake.batches) == (1, [100])
    assert [mail["to"] for mail in fake.mails] == [[f"r{number}@example.org"] for number in range(100)]


async def test_each_mail_of_a_batch_gets_its_own_id_around_those_that_are_refused(
    fake: FakeResend, provider: ResendProvider
) -> None:
    fake.refuse_examples = True
    mails = some_mails(5)
    mails[1] = replace(mails[1], recipient="x@example.com")
    mails[3] = replace(mails[3], recipient="y@test.com")
    outcomes = await provider.send_batch("batch:1", mails)
    assert [type(outcome) for outcome in outcomes] == [Sent, Failed, Sent, Failed, Sent]
    again = await provider.send_batch("batch:1", mails)
    assert again == outcomes
    assert [mail["to"] for mail in fake.mails] == [["r0@example.org"], ["r2@example.org"], ["r4@example.org"]]


async def test_a_batch_whose_answer_is_lost_is_found_again_by_its_key(
    fake: FakeResend, provider: ResendProvider
) -> None:
    mails = some_mails(3)
    fake.drop = True
    lost = await provider.send_batch("batch:1", mails)
    assert all(isinstance(outcome, RetryLater) and outcome.may_have_arrived for outcome in lost)
    fake.drop, fake.break_after_taking = False, True
    broken = await provider.send_batch("batch:1", mails)
    assert all(isinstance(outcome, RetryLater) and outcome.may_have_arrived for outcome in broken)
    fake.break_after_taking = False
    found = await provider.send_batch("batch:1", mails)
    assert all(isinstance(outcome, Sent) for outcome in found)
    assert len(fake.mails) == 3


async def test_another_order_under_the_same_key_is_uncertain(
    fake: FakeResend, provider: ResendProvider
) -> None:
    mails = some_mails(3)
    await provider.send_batch("batch:1", mails)
    outcomes = await provider.send_batch("batch:1", mails[::-1])
    assert {type(outcome) for outcome in outcomes} == {Uncertain}
    assert len(fake.mails) == 3


@pytest.mark.parametrize(
    ("status", "name"), [(413, ""), (400, "validation_error"), (403, "validation_error")]
)
async def test_a_batch_that_is_refused_as_a_whole_may_go_mail_by_mail(
    fake: FakeResend, provider: ResendProvider, status: int, name: str
) -> None:
    fake.refuse_next(status, name)
    outcomes = await provider.send_batch("batch:1", some_mails(2))
    assert all(isinstance(outcome, RetryLater) and outcome.only_together for outcome in outcomes)


@pytest.mark.parametrize("status", [401, 403, 409, 422, 429, 500])
async def test_what_is_said_of_one_brand_of_a_batch_is_not_told_to_the_others(
    fake: FakeResend, provider: ResendProvider, status: int
) -> None:
    fake.words = "The acme.example domain is not verified"
    fake.refuse_next(status, "validation_error")
    for outcome in await provider.send_batch("batch:1", some_mails(2)):
        assert not isinstance(outcome, Sent)
        assert "acme" not in outcome.reason
        assert "validation_error" in outcome.reason


async def test_a_refusal_says_why_without_addresses(fake: FakeResend, provider: ResendProvider) -> None:
    fake.words = "Invalid `to` field: ada@example.org."
    fake.refuse_next(422, "validation_error")
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, Failed)
    assert outcome.reason == "422 validation_error: Invalid `to` field: <address>"


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>proxy</html>",
        b'{"data": [{"id": "a"}]}',
        b'{"data": [{"id": "a"}, {"id": "b"}], "errors": [{"index": 7, "message": "no"}]}',
        b'{"data": 7}',
    ],
)
async def test_a_yes_that_does_not_fit_the_batch_is_asked_again(
    fake: FakeResend, provider: ResendProvider, answer: bytes
) -> None:
    fake.answer = answer
    outcomes = await provider.send_batch("batch:1", some_mails(2))
    assert all(isinstance(outcome, RetryLater) and outcome.may_have_arrived for outcome in outcomes)


async def test_the_limit_that_resend_tells_is_heard(fake: FakeResend, provider: ResendProvider) -> None:
    assert provider.told is None
    fake.per_second = 5
    await provider.send(a_mail())
    assert provider.told == RateLimit(limit=5, window=timedelta(seconds=1))


@pytest.mark.parametrize(("name", "hours"), [("daily_quota_exceeded", 1), ("monthly_quota_exceeded", 6)])
async def test_a_quota_is_not_a_matter_of_seconds(
    fake: FakeResend, provider: ResendProvider, name: str, hours: int
) -> None:
    fake.refuse_next(429, name)
    outcome = await provider.send(a_mail())
    assert isinstance(outcome, RetryLater)
    assert (outcome.after, outcome.fault) == (timedelta(hours=hours), Fault.QUOTA)
