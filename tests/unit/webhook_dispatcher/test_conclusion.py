"""What follows from an attempt."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from mailement_common.ids import BrandId, EventId
from mailement_webhook_dispatcher.attempt import Attempted
from mailement_webhook_dispatcher.conclusion import Conclusion, conclude
from mailement_webhook_dispatcher.http.exchange import Answer, Exchange, Phases
from mailement_webhook_dispatcher.outcome import Delivered, GiveUp, OurFault, Outcome, Retry
from mailement_webhooks.deliveries import AttemptOutcome, Reason, Trigger
from mailement_webhooks.ids import DeliveryId, EndpointId, Sequence
from mailement_webhooks.rules.health import Fact, Health, HoldReason
from mailement_webhooks.rules.retries import LONGEST_TRYING, SCHEDULE
from mailement_webhooks.usecases.claim_deliveries import LeasedDelivery
from tests.support.endpoints_at_work import NOW, workload

_RETRY = Retry(reason=Reason.HTTP_5XX, detail="the endpoint answered 500")
_PROBING = Health(consecutive_failures=10, breaker_trips=1, hold_until=NOW, hold_reason=HoldReason.BREAKER)

_DELIVERY = LeasedDelivery(
    id=DeliveryId(5),
    occurred_at=NOW,
    event_id=EventId(UUID(int=1)),
    endpoint_id=EndpointId(1),
    endpoint_version=1,
    brand_id=BrandId(1),
    sequence=Sequence(1),
    trigger=Trigger.AUTOMATIC,
    replay_id=None,
    attempt=4,
    tries=1,
    refusals=0,
    lease_token=UUID(int=2),
    created_at=NOW,
    type="subscriber.confirmed",
    body=b"{}",
    traceparent=None,
)


def _attempted(outcome: Outcome, delivery: LeasedDelivery = _DELIVERY, *, probe: bool = False) -> Attempted:
    return Attempted(
        delivery=delivery,
        workload=workload(),
        probe=probe,
        exchange=Exchange(
            answer=Answer(status=200, body=b"o\x00k\xff"),
            fault=None,
            phases=Phases(first_byte=3),
            request_head="POST / HTTP/1.1\r\n",
            reused=False,
        ),
        outcome=outcome,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=1),
        ended_at=1.0,
        took=0.0126,
        jitter=0.0,
    )


def _conclude(
    outcome: Outcome,
    delivery: LeasedDelivery = _DELIVERY,
    *,
    health: Health | None = None,
    probe: bool = False,
) -> Conclusion:
    return conclude(_attempted(outcome, delivery, probe=probe), health or Health(), pace=1.0)


def test_what_arrived_ends_there() -> None:
    result = _conclude(Delivered()).result

    assert (result.outcome, result.reason, result.tries, result.next_attempt_in) == (
        AttemptOutcome.DELIVERED,
        None,
        2,
        None,
    )


def test_the_ledger_gets_text_that_it_can_hold() -> None:
    result = _conclude(Delivered()).result

    assert (result.response_body, result.duration_ms) == ("o\ufffdk\ufffd", 13)


def test_what_failed_is_tried_again_by_the_schedule() -> None:
    result = _conclude(_RETRY).result

    assert (result.tries, result.next_attempt_in) == (2, SCHEDULE[1].total_seconds())


def test_a_refusal_is_believed_when_it_has_come_three_times_in_a_row() -> None:
    refused = replace(_RETRY, refusal=True)
    worn = replace(_DELIVERY, tries=5)

    results = [_conclude(refused, replace(worn, refusals=before)).result for before in (0, 1, 2)]

    assert [result.refusals for result in results] == [1, 2, 3]
    assert [result.next_attempt_in is None for result in results] == [False, False, True]


def test_whatever_else_comes_between_refusals_begins_their_row_anew() -> None:
    refused_twice = replace(_DELIVERY, tries=2, refusals=2)

    assert _conclude(_RETRY, refused_twice).result.refusals == 0
    fault = OurFault(reason=Reason.SECRET_UNREADABLE, detail="no key")
    assert _conclude(fault, refused_twice).result.refusals == 2


def test_a_probe_that_is_refused_does_not_end_its_delivery() -> None:
    conclusion = _conclude(
        replace(_RETRY, refusal=True),
        replace(_DELIVERY, tries=2, refusals=2),
        health=_PROBING,
        probe=True,
    )

    assert (conclusion.result.refusals, conclusion.exhausted) == (2, False)


def test_a_retry_waits_as_long_as_was_asked_for() -> None:
    asked = replace(_RETRY, retry_after=timedelta(hours=2))

    assert _conclude(asked).result.next_attempt_in == timedelta(hours=2).total_seconds()


def test_a_probe_spends_no_try_and_lets_another_go_first() -> None:
    conclusion = _conclude(_RETRY, health=_PROBING, probe=True)

    assert conclusion.result.tries == 1
    rest = conclusion.change.health.hold_until
    assert rest is not None
    assert conclusion.result.next_attempt_in == (rest - NOW).total_seconds() - 1


def test_what_was_tried_for_four_days_is_given_up_whatever_it_spent() -> None:
    old = replace(_DELIVERY, created_at=NOW - LONGEST_TRYING)
    attempted = _attempted(_RETRY, old, probe=True)
    attempted.workload.endpoint = replace(attempted.workload.endpoint, state_changed_at=old.created_at)

    assert conclude(attempted, _PROBING, pace=1.0).exhausted


def test_time_in_which_the_endpoint_was_not_enabled_does_not_count() -> None:
    held = replace(_DELIVERY, created_at=NOW - 2 * LONGEST_TRYING)

    assert not _conclude(_RETRY, held).exhausted


def test_what_is_given_up_charges_the_endpoint() -> None:
    conclusion = _conclude(GiveUp(reason=Reason.BLOCKED_ADDRESS, detail="loopback"))

    assert conclusion.exhausted
    assert conclusion.change.health.consecutive_failures == 1


def test_a_fault_of_ours_charges_nobody() -> None:
    conclusion = _conclude(OurFault(reason=Reason.SECRET_UNREADABLE, detail="no key"))

    assert conclusion.change.health == Health()
    assert (conclusion.result.tries, conclusion.result.next_attempt_in) == (1, 30)


def test_what_is_gone_is_not_waited_for() -> None:
    assert _conclude(OurFault(reason=Reason.PAYLOAD_REMOVED, detail="gone")).exhausted


def test_an_endpoint_that_was_given_up_is_judged_by_its_new_owner() -> None:
    attempted = _attempted(replace(_RETRY, gone=True))
    attempted.workload.ours = False

    change = conclude(attempted, Health(gone_in_a_row=1), pace=1.0).change

    assert (change.health, change.facts) == (Health(gone_in_a_row=1), ())


def test_gone_twice_is_a_reason_to_disable() -> None:
    conclusion = _conclude(replace(_RETRY, gone=True), health=Health(gone_in_a_row=1))

    assert conclusion.change.facts == (Fact.DISABLED_GONE,)


@pytest.mark.parametrize(("tries", "recovered"), [(3, False), (4, True)])
def test_it_has_recovered_if_it_had_failed_often(tries: int, recovered: bool) -> None:
    assert _conclude(Delivered(), replace(_DELIVERY, tries=tries)).recovered is recovered
