"""An event is stored once and makes a delivery for each endpoint that hears it, numbered without gaps."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from mailement_common.ids import EventId
from mailement_webhooks.endpoints import Profile
from tests.support.database import Database
from tests.support.delivery_ledger import DeliveryLedger


async def test_every_endpoint_that_hears_gets_a_delivery(ledger: DeliveryLedger) -> None:
    first, second = await ledger.endpoint(), await ledger.endpoint(every_brand=True)
    deaf = await ledger.endpoint(types=["subscriber.bounced"])

    recorded = await ledger.happen(ledger.event(), ledger.event())

    assert recorded.deliveries == 4
    assert recorded.endpoint_ids == {first, second}
    assert deaf not in await ledger.sequences()
    assert await ledger.pool.fetchval("SELECT count(*) FROM delivery_payloads") == 2


async def test_what_nobody_hears_is_not_stored(ledger: DeliveryLedger) -> None:
    await ledger.endpoint(profile=Profile.MAILY)

    recorded = await ledger.happen(ledger.event())

    assert recorded.deliveries == 0
    assert await ledger.pool.fetchval("SELECT count(*) FROM delivery_payloads") == 0


async def test_each_profile_has_its_own_bytes(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.endpoint(profile=Profile.MAILY)
    ours = ledger.event()
    theirs = replace(ours, profile=Profile.MAILY, body=b'{"id": "evt_1"}')

    await ledger.happen(ours, theirs)

    claim = await ledger.claim()
    assert {delivery.endpoint_id: delivery.body for delivery in claim.deliveries} == {
        ledger.endpoints[0]: ours.body,
        ledger.endpoints[1]: theirs.body,
    }


async def test_paused_and_disabled_endpoints_hear_and_deleted_ones_do_not(ledger: DeliveryLedger) -> None:
    paused, disabled, deleted = [await ledger.endpoint() for _ in range(3)]
    for endpoint, state in ((paused, "paused"), (disabled, "disabled"), (deleted, "deleted")):
        await ledger.pool.execute("UPDATE webhook_endpoints SET state = $2 WHERE id = $1", endpoint, state)

    recorded = await ledger.happen(ledger.event())

    assert recorded.endpoint_ids == {paused, disabled}


async def test_another_brand_of_the_account_is_heard_by_account_wide_endpoints_only(
    ledger: DeliveryLedger,
) -> None:
    await ledger.endpoint()
    wide = await ledger.endpoint(every_brand=True)
    sibling = await ledger.pool.fetchval(
        "INSERT INTO brands (account_id, slug, name, opt_in_mode) VALUES ($1, 's', 's', 'single') RETURNING id",
        ledger.account_id,
    )

    recorded = await ledger.happen(replace(ledger.event(), brand_id=sibling))

    assert recorded.endpoint_ids == {wide}


async def test_another_account_is_never_heard(database: Database, ledger: DeliveryLedger) -> None:
    await ledger.endpoint(every_brand=True)
    stranger = await DeliveryLedger.create(database, slug="stranger")

    assert (await stranger.happen(stranger.event())).deliveries == 0


async def test_an_endpoint_does_not_hear_of_itself(ledger: DeliveryLedger) -> None:
    failing, watching = await ledger.endpoint(), await ledger.endpoint()

    recorded = await ledger.happen(ledger.event(about=failing))

    assert recorded.endpoint_ids == {watching}


async def test_a_copy_makes_nothing(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    event = ledger.event()
    await ledger.happen(event)

    assert (await ledger.happen(event)).deliveries == 0
    assert await ledger.states() == {"pending": 1}


async def test_a_copy_makes_nothing_for_an_endpoint_that_came_later(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    event = ledger.event()
    await ledger.happen(event)
    await ledger.endpoint()

    assert (await ledger.happen(event)).deliveries == 0


async def test_copies_in_one_batch_make_one_delivery(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.endpoint()
    event = ledger.event()

    recorded = await ledger.happen(event, ledger.event(), event, event)

    assert recorded.deliveries == 4
    assert set(map(tuple, (await ledger.sequences()).values())) == {(1, 2)}


async def test_batches_that_come_at_once_and_share_events_make_each_delivery_once_and_number_without_gaps(
    ledger: DeliveryLedger,
) -> None:
    endpoints = [await ledger.endpoint() for _ in range(4)]
    events = [ledger.event() for _ in range(60)]
    batches = [random.sample(events, 30) for _ in range(24)] + [events]

    await asyncio.gather(*(ledger.happen(*batch) for batch in batches))

    assert await ledger.sequences() == {endpoint: list(range(1, 61)) for endpoint in endpoints}
    twice = await ledger.pool.fetchval(
        "SELECT count(*) FROM (SELECT FROM deliveries GROUP BY event_id, endpoint_id HAVING count(*) > 1) AS t"
    )
    assert twice == 0
    assert len(await ledger.queued()) == 240


async def test_numbers_follow_the_order_of_the_batch(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    events = [ledger.event() for _ in range(20)]

    await ledger.happen(*events)

    assert [row["event_id"] for row in await ledger.deliveries()] == [event.id for event in events]
    assert [row["event_id"] for row in await ledger.queued()] == [event.id for event in events]


async def test_the_subscriber_is_kept_only_where_order_is_asked_for(ledger: DeliveryLedger) -> None:
    await ledger.endpoint(ordered=True)
    await ledger.endpoint()

    await ledger.happens(1, subscriber=7)

    assert sorted((row["endpoint_id"], row["order_key"]) for row in await ledger.queued()) == [
        (ledger.endpoints[0], 7),
        (ledger.endpoints[1], None),
    ]


async def test_an_event_stands_in_the_month_in_which_it_happened(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    now = datetime.now(UTC)  # noqa: TID251
    await ledger.happen(ledger.event(at=now), ledger.event(at=now - timedelta(days=400)))

    partitions = [row["partition"] for row in await ledger.deliveries()]
    assert partitions == [f"deliveries_{now:%Y%m}", "deliveries_default"]


async def test_events_of_a_deleted_brand_make_nothing(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.pool.execute("UPDATE brands SET deleted_at = now() WHERE id = $1", ledger.brand_id)

    assert (await ledger.happen(replace(ledger.event(), id=EventId(uuid4())))).deliveries == 0
