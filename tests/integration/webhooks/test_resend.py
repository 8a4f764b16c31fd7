"""A delivery is sent again when somebody asks for it, and its payload can be taken away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.endpoints import Drain
from mailement_webhooks.errors import DeliveryNotFound, DeliveryUnderWay, EndpointDeleted, PayloadRemoved
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.usecases.claim_deliveries import LeasedDelivery
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from mailement_webhooks.usecases.discard_marked import discard_marked
from mailement_webhooks.usecases.enable_endpoint import enable_endpoint
from mailement_webhooks.usecases.pause_endpoint import pause_endpoint
from mailement_webhooks.usecases.remove_payload import remove_payload
from mailement_webhooks.usecases.resend_delivery import resend_delivery
from mailement_webhooks.usecases.show_delivery import show_delivery
from tests.support.database import Database
from tests.support.delivery_ledger import DeliveryLedger, delivered, failed


async def _claimed(ledger: DeliveryLedger) -> LeasedDelivery:
    await ledger.endpoint()
    await ledger.happens(1)
    (claimed,) = (await ledger.claim()).deliveries
    return claimed


@pytest.mark.parametrize("end", [delivered, failed])
async def test_what_is_finished_is_sent_again_with_the_whole_schedule(
    ledger: DeliveryLedger, end: Any
) -> None:
    claimed = await _claimed(ledger)
    await ledger.record(end(claimed))

    queued = await resend_delivery(ledger.pool, claimed.id, brand_id=ledger.brand_id)
    (again,) = (await ledger.claim()).deliveries
    await ledger.record(delivered(again))

    assert (queued.state, queued.reason, queued.finished_at) == (DeliveryState.PENDING, None, None)
    assert (again.trigger, again.attempt, again.tries, again.event_id) == ("manual", 2, 0, claimed.event_id)
    assert await ledger.attempts(claimed.id) == [
        (1, "automatic", "delivered" if end is delivered else "failed"),
        (2, "manual", "delivered"),
    ]


async def test_what_waits_is_due_now(ledger: DeliveryLedger) -> None:
    claimed = await _claimed(ledger)
    await ledger.record(failed(claimed, again_in=3600))
    assert (await ledger.claim()).deliveries == []

    await resend_delivery(ledger.pool, claimed.id)
    (again,) = (await ledger.claim()).deliveries
    assert (again.trigger, again.attempt, again.tries) == ("manual", 2, 1)


async def test_what_is_under_way_is_not_sent_a_second_time_beside_it(ledger: DeliveryLedger) -> None:
    claimed = await _claimed(ledger)
    with pytest.raises(DeliveryUnderWay):
        await resend_delivery(ledger.pool, claimed.id)
    assert await ledger.record(delivered(claimed)) == {claimed.id}


async def test_many_who_ask_at_once_have_it_sent_once(ledger: DeliveryLedger) -> None:
    claimed = await _claimed(ledger)
    await ledger.record(failed(claimed))

    await asyncio.gather(
        *(resend_delivery(ledger.pool, claimed.id) for _ in range(10)), return_exceptions=True
    )
    assert [(row["delivery_id"], row["attempts"]) for row in await ledger.queued()] == [(claimed.id, 1)]


async def test_for_a_paused_endpoint_it_is_held(ledger: DeliveryLedger) -> None:
    claimed = await _claimed(ledger)
    await ledger.record(failed(claimed))
    await pause_endpoint(ledger.pool, claimed.endpoint_id)

    assert (await resend_delivery(ledger.pool, claimed.id)).state is DeliveryState.HELD


@pytest.mark.parametrize("housekeeping_first", [True, False])
async def test_what_was_drained_is_sent_after_all(ledger: DeliveryLedger, housekeeping_first: bool) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(1)
    (row,) = await ledger.queued()
    async with ledger.pool.acquire() as connection:
        await enable_endpoint(connection, endpoint_id, drain=Drain.DISCARD)
        if housekeeping_first:
            await discard_marked(connection, 10)
        await resend_delivery(connection, DeliveryId(row["delivery_id"]))
        await discard_marked(connection, 10)

    assert [claimed.id for claimed in (await ledger.claim()).deliveries] == [row["delivery_id"]]


async def test_it_waits_for_no_other_of_its_subscriber(ledger: DeliveryLedger) -> None:
    await ledger.endpoint(ordered=True)
    await ledger.happens(2, subscriber=7)
    (first,) = (await ledger.claim()).deliveries
    await ledger.record(delivered(first))
    (second,) = (await ledger.claim()).deliveries
    await ledger.record(failed(second, again_in=3600))

    await resend_delivery(ledger.pool, first.id)
    assert [claimed.id for claimed in (await ledger.claim()).deliveries] == [first.id]


async def test_what_cannot_be_sent_is_refused_and_stays_finished(ledger: DeliveryLedger) -> None:
    claimed = await _claimed(ledger)
    await ledger.record(delivered(claimed))
    await remove_payload(ledger.pool, claimed.id)
    with pytest.raises(PayloadRemoved):
        await resend_delivery(ledger.pool, claimed.id)
    await delete_endpoint(ledger.pool, claimed.endpoint_id)
    with pytest.raises(EndpointDeleted):
        await resend_delivery(ledger.pool, claimed.id)

    assert (await ledger.queued(), await ledger.states()) == ([], {"delivered": 1})


async def test_a_brand_resends_and_empties_nothing_of_another(
    ledger: DeliveryLedger, database: Database
) -> None:
    claimed = await _claimed(ledger)
    await ledger.record(failed(claimed))
    other = await DeliveryLedger.create(database, slug="other")

    for deed in (resend_delivery, remove_payload):
        with pytest.raises(DeliveryNotFound):
            await deed(ledger.pool, claimed.id, brand_id=other.brand_id)
        with pytest.raises(DeliveryNotFound):
            await deed(ledger.pool, DeliveryId(404))
    assert await ledger.queued() == []
    assert (await show_delivery(ledger.pool, claimed.id)).body is not None


async def test_asking_announces_the_endpoint(ledger: DeliveryLedger) -> None:
    claimed = await _claimed(ledger)
    await ledger.record(failed(claimed))
    told: asyncio.Queue[str] = asyncio.Queue()

    def hear(*call: Any) -> None:
        told.put_nowait(call[3])

    async with ledger.pool.acquire() as connection:
        await connection.add_listener("webhook_due", hear)
        await resend_delivery(ledger.pool, claimed.id)
        await resend_delivery(ledger.pool, claimed.id)
        async with asyncio.timeout(10):
            assert [await told.get(), await told.get()] == [str(claimed.endpoint_id)] * 2
        await connection.remove_listener("webhook_due", hear)


async def test_a_payload_goes_for_all_endpoints_that_share_it(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.endpoint(every_brand=True)
    await ledger.happens(1)
    first, second = (await ledger.claim()).deliveries
    await ledger.record(delivered(first), failed(second, again_in=0))
    removed = await remove_payload(ledger.pool, first.id, brand_id=ledger.brand_id)

    assert (removed.event_id, set(removed.delivery_ids)) == (first.event_id, {first.id, second.id})
    for each in (first, second):
        report = await show_delivery(ledger.pool, each.id)
        (attempt,) = report.attempts
        assert (report.body, attempt.request_head, attempt.response_head, attempt.response_body) == (
            None,
        ) * 4
        assert attempt.status_code == 200
    (claimed,) = (await ledger.claim()).deliveries
    assert claimed.body is None
