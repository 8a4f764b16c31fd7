"""A claim leases what is due for the endpoints whose turn it is, live ones first, in order where order is asked for."""

from __future__ import annotations

import asyncio

import pytest

from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.claim_deliveries import Claim, release_deliveries
from tests.support.delivery_ledger import DeliveryLedger, delivered, failed


def _ids(claim: Claim) -> list[int]:
    return sorted(delivery.id for delivery in claim.deliveries)


async def _replay_all(ledger: DeliveryLedger) -> None:
    """As if all that waits had been put there by a replay."""
    await ledger.pool.execute("UPDATE delivery_queue SET lane = 1, trigger = 'replay'")


async def test_each_endpoint_gets_what_it_has_room_for(ledger: DeliveryLedger) -> None:
    first, second = await ledger.endpoint(), await ledger.endpoint()
    await ledger.happens(5)

    claim = await ledger.claim(first, room=3)

    assert {delivery.endpoint_id for delivery in claim.deliveries} == {first}
    assert sorted(delivery.sequence for delivery in claim.deliveries) == [1, 2, 3]
    assert len((await ledger.claim(second, room=100)).deliveries) == 5


async def test_the_longest_due_go_first(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    await ledger.happens(4)
    await ledger.pool.execute("UPDATE delivery_queue SET due_at = due_at - interval '1 s' WHERE sequence = 3")

    claim = await ledger.claim(endpoint, room=2)

    assert sorted(delivery.sequence for delivery in claim.deliveries) == [1, 3]


async def test_a_leased_delivery_says_all_that_is_needed_to_send_it(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    event = ledger.event()
    await ledger.happen(event)

    (delivery,) = (await ledger.claim()).deliveries

    assert delivery.event_id == event.id
    assert delivery.occurred_at == event.occurred_at
    assert delivery.endpoint_id == endpoint
    assert delivery.endpoint_version == 1
    assert (delivery.sequence, delivery.attempt, delivery.tries) == (1, 1, 0)
    assert (delivery.trigger, delivery.replay_id) == ("automatic", None)
    assert (delivery.type, delivery.body) == (event.type, event.body)


async def test_what_is_claimed_is_not_claimed_again(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(50)

    claims = await asyncio.gather(*(ledger.claim(room=20) for _ in range(8)))

    ids = [delivery.id for claim in claims for delivery in claim.deliveries]
    assert len(ids) == len(set(ids))


async def test_the_bytes_of_a_removed_payload_are_missing_and_nothing_else(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(2)
    await ledger.pool.execute("UPDATE delivery_payloads SET body = NULL")
    (blank, *_) = (await ledger.claim(room=1)).deliveries
    await ledger.pool.execute("DELETE FROM delivery_payloads")
    (missing, *_) = (await ledger.claim(room=1)).deliveries

    assert [(delivery.type, delivery.body) for delivery in (blank, missing)] == [
        ("subscriber.confirmed", None)
    ] * 2


@pytest.mark.parametrize("state", ["paused", "disabled", "deleted"])
async def test_endpoints_that_are_not_enabled_are_passed_over(ledger: DeliveryLedger, state: str) -> None:
    endpoint = await ledger.endpoint()
    await ledger.happens(1)
    await ledger.pool.execute("UPDATE webhook_endpoints SET state = $2 WHERE id = $1", endpoint, state)

    claim = await ledger.claim()

    assert list(claim.deliveries) == []
    assert claim.next_due_in == {endpoint: None}


async def test_what_is_marked_to_be_discarded_is_not_claimed(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    await ledger.happens(5)
    await ledger.pool.execute("UPDATE webhook_endpoints SET discard_through = 3 WHERE id = $1", endpoint)

    claim = await ledger.claim()

    assert sorted(delivery.sequence for delivery in claim.deliveries) == [4, 5]
    assert {delivery.endpoint_version for delivery in claim.deliveries} == {2}


async def test_what_is_asked_for_after_the_mark_is_claimed(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    await ledger.happens(3)
    await ledger.pool.execute("UPDATE webhook_endpoints SET discard_through = 3 WHERE id = $1", endpoint)
    await ledger.pool.execute("UPDATE delivery_queue SET created_at = now() WHERE sequence = 2")

    assert [delivery.sequence for delivery in (await ledger.claim()).deliveries] == [2]


async def test_the_claim_tells_when_the_next_is_due(ledger: DeliveryLedger) -> None:
    busy, idle = await ledger.endpoint(), await ledger.endpoint(types=["subscriber.bounced"])
    await ledger.happens(3)
    await ledger.pool.execute(
        "UPDATE delivery_queue SET due_at = now() + make_interval(mins => sequence::int) WHERE sequence > 1"
    )

    claim = await ledger.claim()

    assert claim.next_due_in[busy] == pytest.approx(120, abs=20)
    assert claim.next_due_in[idle] is None


async def test_replayed_ones_get_what_live_ones_leave(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(10)
    await _replay_all(ledger)
    await ledger.happens(3)

    claim = await ledger.claim(room=5, replay_room=4)

    assert sorted((delivery.trigger, delivery.sequence) for delivery in claim.deliveries) == [
        ("automatic", 11),
        ("automatic", 12),
        ("automatic", 13),
        ("replay", 1),
        ("replay", 2),
    ]


async def test_replayed_ones_get_no_more_than_their_share(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(10)
    await _replay_all(ledger)

    claim = await ledger.claim(room=8, replay_room=2)

    assert len(claim.deliveries) == 2
    assert (claim.next_due_in[ledger.endpoints[0]] or 0) <= 0


async def test_live_ones_may_fill_the_room(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    await ledger.happens(4)
    await _replay_all(ledger)
    await ledger.happens(9)

    claim = await ledger.claim(room=8, replay_room=2)

    assert {delivery.trigger for delivery in claim.deliveries} == {"automatic"}
    assert len(claim.deliveries) == 8
    assert (claim.next_due_in[endpoint] or 0) <= 0


async def test_a_replay_that_is_all_on_its_way_has_nothing_more(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    await ledger.happens(2)
    await _replay_all(ledger)

    assert (await ledger.claim(room=8, replay_room=2)).next_due_in == {endpoint: None}


async def test_a_subscriber_s_events_wait_for_one_another_and_others_flow(ledger: DeliveryLedger) -> None:
    await ledger.endpoint(ordered=True)
    for subscriber in (7, 7, 8, 7):
        await ledger.happens(1, subscriber=subscriber)

    first = await ledger.claim()
    assert sorted(delivery.sequence for delivery in first.deliveries) == [1, 3]
    again = await ledger.claim()
    assert list(again.deliveries) == []

    await ledger.record(*(delivered(delivery) for delivery in first.deliveries))
    assert [delivery.sequence for delivery in (await ledger.claim()).deliveries] == [2]


async def test_one_that_is_to_be_tried_again_holds_up_the_later_ones(ledger: DeliveryLedger) -> None:
    await ledger.endpoint(ordered=True)
    await ledger.happens(2, subscriber=7)
    (first,) = (await ledger.claim()).deliveries
    await ledger.record(failed(first, again_in=3600))

    assert list((await ledger.claim()).deliveries) == []

    await ledger.make_due()
    assert [delivery.sequence for delivery in (await ledger.claim()).deliveries] == [1]


async def test_order_is_not_waited_for_longer_than_it_may(ledger: DeliveryLedger) -> None:
    await ledger.endpoint(ordered=True)
    await ledger.happens(2, subscriber=7)
    await ledger.claim(room=1)
    await ledger.pool.execute("UPDATE delivery_queue SET created_at = created_at - interval '5 minutes'")

    assert list((await ledger.claim(order_seconds=600)).deliveries) == []
    assert [delivery.sequence for delivery in (await ledger.claim(order_seconds=299)).deliveries] == [2]


async def test_where_no_order_is_asked_for_nobody_waits(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(3, subscriber=7)

    assert len((await ledger.claim()).deliveries) == 3


async def test_what_is_released_can_be_claimed_again_under_the_same_number(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(2)
    first = await ledger.claim()

    await release_deliveries(ledger.pool, first.deliveries)
    second = await ledger.claim()

    assert _ids(second) == _ids(first)
    assert {delivery.attempt for delivery in second.deliveries} == {1}


async def test_releasing_what_somebody_else_has_leased_since_changes_nothing(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(1)
    stale = await ledger.claim()
    await release_deliveries(ledger.pool, stale.deliveries)
    await ledger.claim()

    await release_deliveries(ledger.pool, stale.deliveries)

    (row,) = await ledger.queued()
    assert row["lease_token"] is not None
    assert row["attempts"] == 1


async def test_a_turn_of_an_endpoint_that_does_not_exist_yields_nothing(ledger: DeliveryLedger) -> None:
    nobody = EndpointId(4711)

    claim = await ledger.claim(nobody)

    assert list(claim.deliveries) == []
    assert claim.next_due_in == {nobody: None}
