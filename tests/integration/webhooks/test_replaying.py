"""A replay puts finished deliveries into the queue once more, at its own rate, and knows what became of them."""

from __future__ import annotations

from typing import Any

import asyncpg

from mailement_webhooks.ids import DeliveryId, ReplayId
from mailement_webhooks.usecases.advance_replays import advance_replays
from mailement_webhooks.usecases.resend_delivery import resend_delivery
from tests.support.delivery_ledger import ALL_SHARDS, DeliveryLedger, delivered, failed


async def _finish(ledger: DeliveryLedger, count: int, *, failing: int = 0) -> None:
    await ledger.happens(count)
    deliveries = sorted((await ledger.claim()).deliveries, key=lambda delivery: delivery.sequence)
    await ledger.record(
        *(failed(delivery) if at < failing else delivered(delivery) for at, delivery in enumerate(deliveries))
    )


async def _replay(ledger: DeliveryLedger, *, rate: float = 1000, **filters: Any) -> ReplayId:
    values = {"types": None, "outcomes": None, "occurred_from": None, "occurred_until": None, **filters}
    last = max(max(numbers) for numbers in (await ledger.sequences()).values())
    replay = await ledger.pool.fetchval(
        "INSERT INTO webhook_replays (endpoint_id, types, outcomes, occurred_from, occurred_until, rate_per_second, "
        "total, through_sequence) VALUES ($1, $2, $3, $4, $5, $6, 0, $7) RETURNING id",
        ledger.endpoints[0],
        *values.values(),
        rate,
        last,
    )
    return ReplayId(replay)


async def _advance(ledger: DeliveryLedger, *, seconds: float = 1) -> None:
    await advance_replays(ledger.pool, shards=ALL_SHARDS, seconds=seconds)


async def _shown(ledger: DeliveryLedger, replay: ReplayId) -> asyncpg.Record:
    row = await ledger.pool.fetchrow("SELECT * FROM webhook_replays WHERE id = $1", replay)
    assert row is not None
    return row


async def test_what_is_finished_is_sent_once_more_and_counted(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    await _finish(ledger, 5, failing=2)
    replay = await _replay(ledger)

    assert await advance_replays(ledger.pool, shards=ALL_SHARDS, seconds=1) == {endpoint}
    assert await ledger.states() == {"pending": 5}
    sent = (await ledger.claim(room=10, replay_room=10)).deliveries
    assert {(delivery.trigger, delivery.replay_id, delivery.attempt) for delivery in sent} == {
        ("replay", replay, 2)
    }
    await ledger.record(failed(sent[0]), *(delivered(delivery) for delivery in sent[1:]))
    await _advance(ledger)

    shown = await _shown(ledger, replay)
    assert (shown["state"], shown["enqueued"], shown["delivered"], shown["failed"]) == ("finished", 5, 4, 1)
    assert await ledger.attempts(sent[0].id) == [
        (1, "automatic", (await ledger.attempts(sent[0].id))[0][2]),
        (2, "replay", "failed"),
    ]


async def test_it_is_not_finished_while_something_of_it_waits(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 2)
    replay = await _replay(ledger)
    await _advance(ledger)
    (first, second) = (await ledger.claim(replay_room=10)).deliveries
    await ledger.record(delivered(first), failed(second, again_in=0))

    await _advance(ledger)
    assert (await _shown(ledger, replay))["state"] == "running"

    await ledger.make_due()
    (again,) = (await ledger.claim(replay_room=10)).deliveries
    assert (again.trigger, again.replay_id) == ("replay", replay)
    await ledger.record(delivered(again))
    await _advance(ledger)
    assert (await _shown(ledger, replay))["state"] == "finished"


async def test_it_goes_no_faster_than_its_rate(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 40)
    replay = await _replay(ledger, rate=2.5)

    counts = []
    for _ in range(4):
        await _advance(ledger)
        counts.append((await _shown(ledger, replay))["enqueued"])

    assert counts == [2, 5, 7, 10]


async def test_it_takes_its_time_where_its_rate_is_small(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 3)
    replay = await _replay(ledger, rate=0.25)

    for _ in range(3):
        await _advance(ledger)
    assert (await _shown(ledger, replay))["enqueued"] == 0
    await _advance(ledger)
    assert (await _shown(ledger, replay))["enqueued"] == 1


async def test_it_waits_while_too_much_of_it_waits(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 60)
    replay = await _replay(ledger, rate=10)

    for _ in range(9):
        await _advance(ledger)

    assert (await _shown(ledger, replay))["enqueued"] == 20


async def test_the_filter_is_kept(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 6, failing=2)
    replay = await _replay(ledger, outcomes=["failed"], types=["subscriber.confirmed"])
    nothing = await _replay(ledger, types=["subscriber.bounced"])

    await _advance(ledger)

    assert [row["sequence"] for row in await ledger.queued()] == [1, 2]
    assert (await _shown(ledger, replay))["enqueued"] == 2
    await _advance(ledger)
    assert (await _shown(ledger, nothing))["state"] == "finished"


async def test_what_waits_already_is_passed_by(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 2)
    await ledger.happens(1)
    replay = await _replay(ledger)

    await _advance(ledger)

    assert (await _shown(ledger, replay))["enqueued"] == 2
    assert sorted((row["sequence"], row["trigger"]) for row in await ledger.queued()) == [
        (1, "replay"),
        (2, "replay"),
        (3, "automatic"),
    ]


async def test_what_ends_while_it_runs_is_not_sent_again_by_it(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 2)
    await ledger.happens(1)
    (late,) = (await ledger.claim()).deliveries
    replay = await _replay(ledger)
    await ledger.record(delivered(late))

    await _advance(ledger)

    assert (await _shown(ledger, replay))["enqueued"] == 2
    assert [row["sequence"] for row in await ledger.queued()] == [1, 2]


async def test_a_paused_one_stands_still(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 2)
    replay = await _replay(ledger)
    await ledger.pool.execute("UPDATE webhook_replays SET state = 'paused'")

    await _advance(ledger)

    assert (await _shown(ledger, replay))["enqueued"] == 0
    assert await ledger.queued() == []


async def test_other_shards_replays_are_left_alone(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 2)
    await _replay(ledger)
    shard = await ledger.pool.fetchval("SELECT shard FROM webhook_endpoints")

    await advance_replays(ledger.pool, shards=[s for s in ALL_SHARDS if s != shard], seconds=1)

    assert await ledger.queued() == []


async def test_a_cancelled_one_gives_back_what_waits_as_it_was(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await _finish(ledger, 4, failing=2)
    before = [(row["state"], row["reason"], row["finished_at"]) for row in await ledger.deliveries()]
    replay = await _replay(ledger)
    await _advance(ledger)
    (leased,) = (await ledger.claim(replay_room=1)).deliveries
    await ledger.pool.execute("UPDATE webhook_replays SET state = 'cancelled'")

    await _advance(ledger)
    assert len(await ledger.queued()) == 1
    assert (await _shown(ledger, replay))["finished_at"] is None
    await ledger.record(failed(leased, again_in=0))
    for _ in range(2):
        await _advance(ledger)

    rows = await ledger.deliveries()
    assert [(row["state"], row["reason"], row["finished_at"]) for row in rows] == before
    assert [row["attempts"] for row in rows] == [2, 1, 1, 1]
    assert await ledger.queued() == []
    assert (await _shown(ledger, replay))["finished_at"] is not None


async def test_what_somebody_has_sent_by_hand_is_sent_also_if_its_replay_is_cancelled(
    ledger: DeliveryLedger,
) -> None:
    await ledger.endpoint()
    await _finish(ledger, 2)
    await _replay(ledger)
    await _advance(ledger)
    wanted, _ = (row["delivery_id"] for row in await ledger.queued())
    await resend_delivery(ledger.pool, DeliveryId(wanted))
    await ledger.pool.execute("UPDATE webhook_replays SET state = 'cancelled'")

    for _ in range(2):
        await _advance(ledger)

    assert [delivery.id for delivery in (await ledger.claim()).deliveries] == [wanted]


async def test_a_sparse_filter_is_looked_for_in_steps(ledger: DeliveryLedger) -> None:
    endpoint = await ledger.endpoint()
    await _finish(ledger, 1)
    await ledger.pool.execute(
        "INSERT INTO deliveries (occurred_at, event_id, endpoint_id, brand_id, sequence, type, state) "
        "SELECT now(), gen_random_uuid(), $1, $2, n, 't', 'delivered' FROM generate_series(2, 25000) AS n",
        endpoint,
        ledger.brand_id,
    )
    replay = await _replay(ledger, outcomes=["failed"])

    reached = []
    for _ in range(4):
        await _advance(ledger)
        reached.append((await _shown(ledger, replay))["at_sequence"])

    assert reached == [10_000, 20_000, 25_000, 25_000]
    assert (await _shown(ledger, replay))["state"] == "finished"
