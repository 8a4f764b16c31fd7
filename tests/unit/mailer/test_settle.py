from __future__ import annotations

from datetime import timedelta

import pytest

from mailement_mailer.providers.port import Failed, Outcome, RetryLater, Sent, Uncertain
from mailement_mailer.settle import MAX_TRIES, attempt_of, backoff, put_off, refused, settle, settled
from mailement_newsletter.rules.messages import AttemptOutcome, MessageState
from tests.support.mails import NOON, a_claimed


def test_sent_keeps_the_providers_id() -> None:
    fate = settle(Sent(provider_message_id="abc"), a_claimed(), now=NOON)
    assert (fate.state, fate.provider_message_id, fate.attempts) == (MessageState.SENT, "abc", 1)
    assert fate.finished_at == NOON
    assert fate.error is None


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Failed(reason="no"), MessageState.FAILED), (Uncertain(reason="no"), MessageState.UNCERTAIN)],
)
def test_an_end_keeps_its_reason(outcome: Failed | Uncertain, state: MessageState) -> None:
    fate = settle(outcome, a_claimed(attempts=2, tries=2), now=NOON)
    assert (fate.state, fate.error, fate.attempts, fate.finished_at) == (state, "no", 3, NOON)


def test_a_retry_waits_by_its_number() -> None:
    fate = settle(RetryLater(reason="busy"), a_claimed(attempts=2, tries=2), now=NOON)
    assert fate.state is MessageState.QUEUED
    assert fate.attempts == 3
    assert fate.not_before is not None
    assert timedelta(seconds=108) <= fate.not_before - NOON <= timedelta(seconds=132)


def test_a_provider_may_ask_for_more_time_but_not_for_less() -> None:
    long = settle(RetryLater(reason="busy", after=timedelta(hours=5)), a_claimed(), now=NOON)
    short = settle(RetryLater(reason="busy", after=timedelta(seconds=1)), a_claimed(), now=NOON)
    assert long.not_before == NOON + timedelta(hours=5)
    assert short.not_before is not None
    assert short.not_before > NOON + timedelta(seconds=20)


def test_the_last_attempt_fails() -> None:
    fate = settle(RetryLater(reason="busy"), a_claimed(attempts=12, tries=MAX_TRIES - 1), now=NOON)
    assert fate.state is MessageState.FAILED
    assert fate.error == "gave up after 8 attempts: busy"


ACCOUNT = RetryLater(reason="account", after=timedelta(minutes=1), provider_wide=True)


def test_trouble_of_the_whole_provider_is_not_held_against_the_mail() -> None:
    fate = settle(ACCOUNT, a_claimed(attempts=9, tries=MAX_TRIES - 1, payload={}), now=NOON)
    assert (fate.state, fate.attempts, fate.tries) == (MessageState.QUEUED, 10, MAX_TRIES - 1)
    assert (fate.not_before, fate.thaw) == (NOON + timedelta(minutes=1), False)


def test_a_mail_that_nobody_was_asked_to_take_before_may_go_another_way_at_once() -> None:
    fate = settle(ACCOUNT, a_claimed(), now=NOON, in_batch=True)
    assert (fate.state, fate.thaw, fate.not_before, fate.tries) == (MessageState.QUEUED, True, None, 0)


@pytest.mark.parametrize("may_have_arrived", [True, False])
def test_a_mail_that_was_frozen_before_stays_so_however_few_tries_count(may_have_arrived: bool) -> None:
    message = a_claimed(payload={}, tries=0, attempts=8, may_have_arrived=may_have_arrived)
    fate = settle(ACCOUNT, message, now=NOON, in_batch=True)
    assert (fate.state, fate.thaw, fate.not_before) == (
        MessageState.SENDING,
        False,
        NOON + timedelta(minutes=1),
    )


def test_a_mail_that_was_held_back_has_made_no_attempt() -> None:
    outcome = RetryLater(reason="google rests", after=timedelta(minutes=10), held_back=True)
    fate = settle(outcome, a_claimed(attempts=MAX_TRIES), now=NOON)
    assert (fate.state, fate.attempts, fate.tries) == (MessageState.QUEUED, MAX_TRIES, 0)
    assert fate.not_before == NOON + timedelta(minutes=10)
    assert attempt_of(outcome, seconds=1) is None


def test_a_batch_waits_on_the_wire_for_its_next_attempt() -> None:
    outcome = RetryLater(reason="500", may_have_arrived=True)
    fate = settle(outcome, a_claimed(), now=NOON, in_batch=True)
    assert (fate.state, fate.thaw, fate.tries) == (MessageState.SENDING, False, 1)
    assert fate.not_before is not None


def test_the_mails_of_a_batch_wait_for_the_same_moment() -> None:
    mails = [a_claimed(id=number) for number in range(50)]
    outcomes = [RetryLater(reason="500", may_have_arrived=True)] * 50
    fates = settled(mails, outcomes, in_batch=True, seconds=1, now=NOON)
    assert len({fate.not_before for fate in fates}) == 1
    assert {fate.state for fate in fates} == {MessageState.SENDING}


def test_mails_of_a_request_that_was_refused_as_a_whole_go_alone() -> None:
    fate = settle(RetryLater(reason="413", only_together=True), a_claimed(), now=NOON, in_batch=True)
    assert (fate.state, fate.thaw, fate.not_before, fate.tries) == (MessageState.QUEUED, True, None, 1)


def test_what_may_have_arrived_is_uncertain_when_the_tries_are_used_up() -> None:
    outcome = RetryLater(reason="no answer", may_have_arrived=True)
    fate = settle(outcome, a_claimed(tries=MAX_TRIES - 1), now=NOON)
    assert (fate.state, fate.error) == (MessageState.UNCERTAIN, "gave up after 8 attempts: no answer")


@pytest.mark.parametrize(
    "outcome",
    [Failed(reason="422"), RetryLater(reason="403"), RetryLater(reason="413", only_together=True)],
)
def test_a_later_refusal_does_not_settle_whether_a_mail_has_arrived(outcome: Outcome) -> None:
    message = a_claimed(tries=MAX_TRIES - 1, payload={}, may_have_arrived=True)
    fate = settle(outcome, message, now=NOON)
    assert (fate.state, fate.thaw) == (MessageState.UNCERTAIN, False)


def test_what_may_have_arrived_together_goes_again_together_though_it_is_refused_as_a_whole() -> None:
    message = a_claimed(tries=1, payload={}, may_have_arrived=True)
    fate = settle(RetryLater(reason="403", only_together=True), message, now=NOON, in_batch=True)
    assert (fate.state, fate.thaw, fate.tries) == (MessageState.SENDING, False, 2)


def test_a_batchs_answer_says_of_each_mail_what_became_of_it_under_their_key() -> None:
    message = a_claimed(tries=1, payload={}, may_have_arrived=True)
    fate = settle(Failed(reason="no such domain"), message, now=NOON, in_batch=True)
    assert (fate.state, fate.error) == (MessageState.FAILED, "no such domain")


def test_what_may_have_arrived_and_cannot_be_read_any_more_is_uncertain() -> None:
    message = a_claimed(tries=MAX_TRIES - 1, payload={}, may_have_arrived=True)
    assert put_off(message, "composing broke", now=NOON).state is MessageState.UNCERTAIN


@pytest.mark.parametrize(
    ("outcome", "kind", "code"),
    [
        (Sent(provider_message_id="abc"), AttemptOutcome.SENT, None),
        (Failed(reason="no", code="550"), AttemptOutcome.FAILED, "550"),
        (RetryLater(reason="busy", code="451"), AttemptOutcome.RETRY, "451"),
        (Uncertain(reason="?"), AttemptOutcome.UNCERTAIN, None),
    ],
)
def test_each_attempt_has_its_entry_in_the_history(
    outcome: Outcome, kind: AttemptOutcome, code: str | None
) -> None:
    attempt = attempt_of(outcome, seconds=0.0125)
    assert attempt is not None
    assert (attempt.outcome, attempt.code, attempt.duration_ms) == (kind, code, 12)
    assert attempt.reason == getattr(outcome, "reason", None)


def test_a_refused_message_fails_without_an_attempt() -> None:
    fate = refused(a_claimed(), "template: no", now=NOON)
    assert (fate.state, fate.attempts, fate.error) == (MessageState.FAILED, 0, "template: no")


def test_backoff_doubles_up_to_an_hour() -> None:
    assert timedelta(seconds=27) <= backoff(1) <= timedelta(seconds=33)
    assert timedelta(minutes=54) <= backoff(40) <= timedelta(minutes=66)


@pytest.mark.parametrize("reason", ["a\x00b", "a\r\nb", "a\udc80b", "x" * 10_000])
def test_reasons_can_be_stored(reason: str) -> None:
    fate = settle(Failed(reason=reason), a_claimed(), now=NOON)
    assert fate.error is not None
    assert "\x00" not in fate.error
    assert len(fate.error.encode()) <= 510


@pytest.mark.parametrize(
    ("outcome", "before", "after"),
    [
        (RetryLater(reason="451"), True, True),
        (RetryLater(reason="451"), False, False),
        (RetryLater(reason="no answer", may_have_arrived=True), False, True),
        (RetryLater(reason="rests", held_back=True), True, True),
        (Failed(reason="422"), True, True),
        (Failed(reason="422"), False, False),
        (Uncertain(reason="cut off"), False, True),
        (Sent(provider_message_id="id"), True, False),
    ],
)
def test_a_doubt_lasts_until_something_settles_it(outcome: Outcome, before: bool, after: bool) -> None:
    fate = settle(outcome, a_claimed(payload={}, may_have_arrived=before), now=NOON)
    assert fate.may_have_arrived is after


def test_the_answer_to_a_batch_settles_the_doubt() -> None:
    message = a_claimed(payload={}, may_have_arrived=True)
    fate = settle(Failed(reason="422"), message, now=NOON, in_batch=True)
    assert (fate.state, fate.may_have_arrived) == (MessageState.FAILED, False)
