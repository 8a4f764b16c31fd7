"""What an endpoint missed can be pulled by its sequence."""

from __future__ import annotations

import pytest

from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.errors import EndpointNotFound
from mailement_webhooks.ids import Sequence
from mailement_webhooks.usecases.pull_events import pull_events
from mailement_webhooks.usecases.remove_payload import remove_payload
from tests.support.database import Database
from tests.support.delivery_ledger import DeliveryLedger, delivered, failed

NONE = Sequence(0)


async def test_events_come_in_the_order_of_the_sequence_with_their_bytes(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(4)
    claimed = sorted((await ledger.claim(room=3)).deliveries, key=lambda each: each.sequence)
    await ledger.record(delivered(claimed[0]), failed(claimed[1]))
    pulled = await pull_events(ledger.pool, endpoint_id, after=NONE, brand_id=ledger.brand_id)

    assert [event.sequence for event in pulled.events] == [1, 2, 3, 4]
    assert [event.state for event in pulled.events] == ["delivered", "failed", "leased", "pending"]
    assert {event.body for event in pulled.events} == {b'{"it": "happened"}'}
    assert pulled.events[0].event_id == claimed[0].event_id
    assert (pulled.after, pulled.last) == (4, 4)


async def test_whoever_asks_on_gets_what_follows(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(5)

    first = await pull_events(ledger.pool, endpoint_id, after=NONE, limit=3)
    second = await pull_events(ledger.pool, endpoint_id, after=first.after, limit=3)
    third = await pull_events(ledger.pool, endpoint_id, after=second.after, limit=3)

    assert [event.sequence for event in (*first.events, *second.events)] == [1, 2, 3, 4, 5]
    assert (first.last, second.after, third.events, third.after) == (5, 5, (), 5)


async def test_what_has_been_removed_still_has_its_place(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(2)
    (first, _) = (await pull_events(ledger.pool, endpoint_id, after=NONE)).events
    await remove_payload(ledger.pool, first.delivery_id)

    pulled = await pull_events(ledger.pool, endpoint_id, after=NONE)
    assert [(event.sequence, event.body is None) for event in pulled.events] == [(1, True), (2, False)]


async def test_a_new_endpoint_has_missed_nothing(ledger: DeliveryLedger) -> None:
    pulled = await pull_events(ledger.pool, await ledger.endpoint(), after=NONE)
    assert (pulled.events, pulled.after, pulled.last) == ((), 0, 0)


async def test_pulling_changes_nothing(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(1)
    before = await ledger.queued()
    await pull_events(ledger.pool, endpoint_id, after=NONE)
    assert await ledger.queued() == before
    assert (await pull_events(ledger.pool, endpoint_id, after=NONE)).events[0].state is DeliveryState.PENDING


async def test_a_brand_pulls_nothing_of_another_nor_of_its_account(
    ledger: DeliveryLedger, database: Database
) -> None:
    other = await DeliveryLedger.create(database, slug="other")
    for endpoint_id in (await other.endpoint(), await ledger.endpoint(every_brand=True)):
        with pytest.raises(EndpointNotFound):
            await pull_events(ledger.pool, endpoint_id, after=NONE, brand_id=ledger.brand_id)
