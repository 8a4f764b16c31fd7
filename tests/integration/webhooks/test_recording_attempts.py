"""An attempt and what follows from it are written together, by whoever holds the lease and by nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailement_webhooks.deliveries import Phases
from mailement_webhooks.usecases.claim_deliveries import LeasedDelivery, release_deliveries
from mailement_webhooks.usecases.reopen_expired import reopen_expired
from tests.support.delivery_ledger import DeliveryLedger, delivered, failed, stranger


async def _one(ledger: DeliveryLedger) -> LeasedDelivery:
    (delivery,) = (await ledger.claim(room=1)).deliveries
    return delivery


@pytest.fixture
async def leased(ledger: DeliveryLedger) -> LeasedDelivery:
    await ledger.endpoint()
    await ledger.happens(1)
    return await _one(ledger)


async def test_a_success_ends_the_delivery(ledger: DeliveryLedger, leased: LeasedDelivery) -> None:
    assert await ledger.record(delivered(leased)) == {leased.id}

    assert await ledger.queued() == []
    (row,) = await ledger.deliveries()
    assert (row["state"], row["reason"], row["attempts"]) == ("delivered", None, 1)
    assert row["finished_at"] is not None


async def test_a_last_failure_ends_the_delivery_with_its_reason(
    ledger: DeliveryLedger, leased: LeasedDelivery
) -> None:
    await ledger.record(failed(leased))

    assert await ledger.queued() == []
    (row,) = await ledger.deliveries()
    assert (row["state"], row["reason"]) == ("failed", "http_5xx")


async def test_a_failure_that_is_tried_again_waits_for_its_time(
    ledger: DeliveryLedger, leased: LeasedDelivery
) -> None:
    await ledger.record(failed(leased, again_in=30, tries=1))

    claim = await ledger.claim()
    assert list(claim.deliveries) == []
    assert claim.next_due_in[leased.endpoint_id] == pytest.approx(30, abs=10)
    (row,) = await ledger.queued()
    assert (row["lease_token"], row["tries"], row["attempts"]) == (None, 1, 1)
    assert (await ledger.deliveries())[0]["state"] == "pending"


async def test_all_of_an_attempt_is_kept(ledger: DeliveryLedger, leased: LeasedDelivery) -> None:
    await ledger.record(
        failed(
            leased,
            again_in=5,
            detail="it said no",
            status_code=503,
            response_body="no",
            duration_ms=15,
            phases=Phases(dns=1, connect=2, tls=3, first_byte=4, body=5),
        )
    )

    row = await ledger.pool.fetchrow(
        "SELECT *, next_attempt_at > now() AS follows, tableoid::regclass::text AS partition FROM delivery_attempts"
    )
    assert row is not None
    assert {
        key: row[key]
        for key in (
            "delivery_id",
            "number",
            "endpoint_id",
            "trigger",
            "outcome",
            "reason",
            "detail",
            "status_code",
        )
    } == {
        "delivery_id": leased.id,
        "number": 1,
        "endpoint_id": leased.endpoint_id,
        "trigger": "automatic",
        "outcome": "failed",
        "reason": "http_5xx",
        "detail": "it said no",
        "status_code": 503,
    }
    assert [row[f"{phase}_ms"] for phase in ("dns", "connect", "tls", "first_byte", "body")] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert (row["duration_ms"], row["response_body"], row["follows"]) == (15, "no", True)
    assert row["request_head"].startswith("POST")
    assert row["partition"] == f"delivery_attempts_{leased.occurred_at:%Y%m}"


async def test_a_result_without_the_lease_changes_nothing(
    ledger: DeliveryLedger, leased: LeasedDelivery
) -> None:
    for result in (delivered(leased), failed(leased), failed(leased, again_in=5)):
        assert await ledger.record(replace(result, lease_token=stranger())) == set()

    assert await ledger.attempts(leased.id) == []
    assert await ledger.states() == {"pending": 1}
    assert (await ledger.queued())[0]["lease_token"] == leased.lease_token


async def test_a_result_that_comes_after_the_lease_was_taken_up_again_changes_nothing(
    ledger: DeliveryLedger, leased: LeasedDelivery
) -> None:
    await ledger.end_leases()
    reopened = await reopen_expired(ledger.pool)
    assert (reopened.deliveries, reopened.endpoint_ids) == (1, frozenset({leased.endpoint_id}))

    assert await ledger.record(delivered(leased)) == set()
    again = await _one(ledger)
    assert await ledger.record(delivered(leased)) == set()
    assert await ledger.record(delivered(again)) == {leased.id}

    assert await ledger.attempts(leased.id) == [
        (1, "automatic", "interrupted"),
        (2, "automatic", "delivered"),
    ]


async def test_a_result_is_recorded_once(ledger: DeliveryLedger, leased: LeasedDelivery) -> None:
    await ledger.record(failed(leased, again_in=5))

    assert await ledger.record(failed(leased, again_in=5)) == set()
    assert await ledger.record(delivered(leased)) == set()
    assert len(await ledger.attempts(leased.id)) == 1


async def test_leases_that_hold_are_not_taken_up(ledger: DeliveryLedger, leased: LeasedDelivery) -> None:
    assert (await reopen_expired(ledger.pool)).deliveries == 0
    assert await ledger.record(delivered(leased)) == {leased.id}


async def test_an_interruption_does_not_count_as_a_try(
    ledger: DeliveryLedger, leased: LeasedDelivery
) -> None:
    await ledger.end_leases()
    await reopen_expired(ledger.pool)

    again = await _one(ledger)

    assert (again.attempt, again.tries) == (2, 0)


async def test_expired_leases_are_taken_up_in_chunks(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(5)
    await ledger.claim()
    await ledger.end_leases()

    assert [(await reopen_expired(ledger.pool, limit=2)).deliveries for _ in range(4)] == [2, 2, 1, 0]


async def test_attempts_are_numbered_without_gaps_whatever_befalls_them(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(1)
    await release_deliveries(ledger.pool, (await ledger.claim()).deliveries)
    await ledger.record(failed(await _one(ledger), again_in=0))
    await ledger.make_due()
    await ledger.claim()
    await ledger.end_leases()
    await reopen_expired(ledger.pool)
    await release_deliveries(ledger.pool, (await ledger.claim()).deliveries)
    await ledger.record(failed(await _one(ledger), again_in=0))
    await ledger.make_due()
    last = await _one(ledger)
    await ledger.record(delivered(last))

    assert await ledger.attempts(last.id) == [
        (1, "automatic", "failed"),
        (2, "automatic", "interrupted"),
        (3, "automatic", "failed"),
        (4, "automatic", "delivered"),
    ]
    assert (await ledger.deliveries())[0]["attempts"] == 4


async def test_after_what_people_asked_for_the_schedule_takes_over(
    ledger: DeliveryLedger, leased: LeasedDelivery
) -> None:
    await release_deliveries(ledger.pool, [leased])
    await ledger.pool.execute("UPDATE delivery_queue SET trigger = 'manual'")
    await ledger.claim()
    await ledger.end_leases()
    await reopen_expired(ledger.pool)
    await ledger.record(failed(await _one(ledger), again_in=0))
    await ledger.make_due()
    await ledger.record(delivered(await _one(ledger)))

    assert await ledger.attempts(leased.id) == [
        (1, "manual", "interrupted"),
        (2, "manual", "failed"),
        (3, "automatic", "delivered"),
    ]


async def test_a_batch_may_hold_all_kinds(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(4)
    good, bad, later, lost = (await ledger.claim()).deliveries

    recorded = await ledger.record(
        delivered(good),
        failed(bad),
        failed(later, again_in=60),
        replace(delivered(lost), lease_token=stranger()),
    )

    assert recorded == {good.id, bad.id, later.id}
    assert await ledger.states() == {"delivered": 1, "failed": 1, "pending": 2}
    assert {row["delivery_id"] for row in await ledger.queued()} == {later.id, lost.id}


async def test_an_empty_batch_is_none(ledger: DeliveryLedger) -> None:
    assert await ledger.record() == set()
