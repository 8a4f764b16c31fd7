"""Dispatchers that die, compete or are told to stop: nothing is lost, and every attempt is in the ledger."""

from __future__ import annotations

import asyncio
from collections import Counter

from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.usecases.claim_deliveries import (
    LeasedDelivery,
    Turn,
    claim_deliveries,
    release_deliveries,
)
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from mailement_webhooks.usecases.reopen_expired import reopen_expired
from tests.support.webhook_receiver import WebhookReceiver, after, status
from tests.support.webhooks import WebhookBrand, outcomes


async def _claim_and_die(hooked: WebhookBrand) -> LeasedDelivery:
    """A dispatcher that was killed after it had claimed, longer ago than its lease."""
    endpoint_id = await hooked.database.pool.fetchval("SELECT id FROM webhook_endpoints")
    async with hooked.database.pool.acquire() as connection:
        claim = await claim_deliveries(
            connection,
            [Turn(endpoint_id=endpoint_id, room=1, replay_room=0)],
            lease_seconds=-1,
            order_seconds=600,
        )
    (delivery,) = claim.deliveries
    return delivery


async def test_what_a_dead_dispatcher_held_is_delivered_and_its_attempt_recorded(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())
    await _claim_and_die(hooked)

    async with hooked.dispatching():
        (delivery,) = await hooked.settled()

    assert outcomes(delivery) == [(1, "interrupted"), (2, "delivered")]
    assert (delivery.state, delivery.reason) == (DeliveryState.DELIVERED, None)
    assert len(receiver.requests) == 1


async def test_interruptions_are_never_charged_to_the_delivery(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())
    for _ in range(5):
        await _claim_and_die(hooked)
        assert (await reopen_expired(hooked.database.pool)).deliveries == 1

    async with hooked.dispatching():
        (delivery,) = await hooked.settled()

    assert outcomes(delivery) == [*((number, "interrupted") for number in range(1, 6)), (6, "delivered")]


async def test_a_delivery_that_is_given_back_counts_no_attempt(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())
    await release_deliveries(hooked.database.pool, [await _claim_and_die(hooked)])

    async with hooked.dispatching():
        (delivery,) = await hooked.settled()

    assert outcomes(delivery) == [(1, "delivered")]


async def test_two_dispatchers_post_each_event_once(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    await hooked.hear_at(receiver.url())
    events = [hooked.event() for _ in range(60)]

    async with hooked.dispatching(), hooked.dispatching():
        for start in range(0, 60, 10):
            await hooked.happen(*events[start : start + 10])
        deliveries = await hooked.settled(60)

    copies = Counter(request.header("webhook-id") for request in receiver.requests)
    assert copies == Counter(str(event.id) for event in events)
    assert all(outcomes(delivery) == [(1, "delivered")] for delivery in deliveries)


async def test_a_stop_finishes_what_is_under_way_and_begins_nothing(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    released = asyncio.Event()
    receiver.behave(after(released))
    await hooked.hear_at(receiver.url())
    await hooked.happen(*(hooked.event() for _ in range(5)))

    async with hooked.dispatching(concurrency=2) as stop:
        await receiver.received(2)
        stop.set()
        released.set()

    deliveries = await hooked.deliveries()
    assert [delivery.state for delivery in deliveries] == ["delivered"] * 2 + ["pending"] * 3
    assert [outcomes(delivery) for delivery in deliveries] == [[(1, "delivered")]] * 2 + [[]] * 3
    assert len(receiver.requests) == 2


async def test_what_waits_for_a_deleted_endpoint_is_discarded_visibly(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event(), hooked.event())
    held = await _claim_and_die(hooked)
    await delete_endpoint(hooked.database.pool, endpoint.id)

    async with hooked.dispatching():
        deliveries = await hooked.settled(2)

    assert receiver.requests == []
    assert {delivery.reason for delivery in deliveries} == {Reason.ENDPOINT_DELETED}
    assert {delivery.id: outcomes(delivery) for delivery in deliveries}[held.id] == [(1, "interrupted")]


async def test_a_result_that_comes_after_its_lease_is_not_written(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    released = asyncio.Event()
    receiver.behave(after(released))
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching():
        await receiver.received(1)
        # As if it had been asleep for longer than its lease.
        await hooked.database.pool.execute("UPDATE delivery_queue SET due_at = now() - interval '1 second'")
        await receiver.received(2)
        released.set()
        (delivery,) = await hooked.settled()

    assert outcomes(delivery) == [(1, "interrupted"), (2, "delivered")]


async def test_a_dispatcher_whose_connections_are_cut_records_what_it_posted(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    released = asyncio.Event()
    receiver.behave(after(released))
    await hooked.hear_at(receiver.url())
    await hooked.happen(*(hooked.event() for _ in range(4)))

    async with hooked.dispatching():
        await receiver.received(2)
        await hooked.database.pool.execute(
            """SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a
            WHERE a.application_name LIKE 'mailement-webhook-dispatcher%' AND a.datname = current_database()"""
        )
        released.set()
        deliveries = await hooked.settled(4)

    assert [outcomes(delivery) for delivery in deliveries] == [[(1, "delivered")]] * 4
    assert len(receiver.requests) == 4


async def test_events_that_nobody_announced_are_found(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    async with hooked.dispatching():
        await hooked.happen(hooked.event())
        await hooked.settled()
        await hooked.database.pool.execute(
            """INSERT INTO delivery_queue (delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence, attempts)
            SELECT d.id, d.occurred_at, d.event_id, d.endpoint_id, d.brand_id, d.sequence, d.attempts FROM deliveries AS d"""
        )
        await receiver.received(2)

    assert {request.header("webhook-sequence") for request in receiver.requests} == {"1"}


async def test_an_answer_that_the_ledger_will_not_take_is_recorded_without_it(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.database.pool.execute(
        "ALTER TABLE delivery_attempts ADD CHECK (response_body IS DISTINCT FROM 'indigestible')"
    )
    receiver.behave(status(200, b"indigestible"))
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching():
        await hooked.settled()

    bodies = await hooked.database.pool.fetch("SELECT outcome, response_body FROM delivery_attempts")
    assert [tuple(row) for row in bodies] == [("delivered", None)]
    assert len(receiver.requests) == 1
