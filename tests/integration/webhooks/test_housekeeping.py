"""What will not be sent leaves the queue in chunks, and the ledger says why."""

from __future__ import annotations

import pytest

from mailement_webhooks.replays import ReplayFilter
from mailement_webhooks.usecases.advance_replays import advance_replays
from mailement_webhooks.usecases.discard_marked import discard_marked
from mailement_webhooks.usecases.expire_held import expire_held
from mailement_webhooks.usecases.resend_delivery import resend_delivery
from mailement_webhooks.usecases.show_delivery import show_delivery
from mailement_webhooks.usecases.start_replay import start_replay
from tests.support.delivery_ledger import ALL_SHARDS, DeliveryLedger, delivered, failed


async def _discard(ledger: DeliveryLedger, limit: int = 100) -> int:
    async with ledger.pool.acquire() as connection:
        return await discard_marked(connection, limit)


async def _expire(ledger: DeliveryLedger, *, limit: int = 100) -> int:
    async with ledger.pool.acquire() as connection:
        return await expire_held(connection, 7, limit)


async def _mark(ledger: DeliveryLedger, through: int) -> None:
    await ledger.pool.execute(
        "UPDATE webhook_endpoints SET discard_through = $1, discard_reason = 'drained', updated_at = now()",
        through,
    )


async def _set_state(ledger: DeliveryLedger, state: str, *, days_ago: int) -> None:
    await ledger.pool.execute("UPDATE webhook_endpoints SET state = $1", state)
    await ledger.pool.execute(
        "UPDATE webhook_endpoints SET state_changed_at = now() - make_interval(days => $1)", days_ago
    )


async def _age(ledger: DeliveryLedger, *, days: int) -> None:
    await ledger.pool.execute("UPDATE delivery_queue SET due_at = now() - make_interval(days => $1)", days)


async def _marks(ledger: DeliveryLedger) -> list[int | None]:
    rows = await ledger.pool.fetch("SELECT discard_through FROM webhook_endpoints ORDER BY id")
    return [row["discard_through"] for row in rows]


async def test_what_is_marked_is_discarded_with_its_reason_in_chunks(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(6)
    await _mark(ledger, 5)

    assert [await _discard(ledger, 2) for _ in range(4)] == [2, 2, 1, 0]

    rows = await ledger.deliveries()
    assert [(row["state"], row["reason"]) for row in rows] == [("discarded", "drained")] * 5 + [
        ("pending", None)
    ]
    assert [row["sequence"] for row in await ledger.queued()] == [6]


async def test_what_is_on_its_way_is_recorded_first(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(2)
    (first, second) = (await ledger.claim()).deliveries
    await _mark(ledger, 2)
    assert await _discard(ledger) == 0

    await ledger.record(failed(first, again_in=60), failed(second))
    assert await _discard(ledger) == 1

    assert await ledger.states() == {"discarded": 1, "failed": 1}
    assert {row["attempts"] for row in await ledger.deliveries()} == {1}


async def test_what_waits_for_a_deleted_endpoint_is_discarded_also_if_it_came_late(
    ledger: DeliveryLedger,
) -> None:
    await ledger.endpoint()
    await ledger.happens(2)
    await ledger.pool.execute("UPDATE webhook_endpoints SET state = 'deleted'")
    await ledger.pool.execute("UPDATE delivery_queue SET created_at = now() WHERE sequence = 2")

    assert await _discard(ledger) == 2

    assert {(row["state"], row["reason"]) for row in await ledger.deliveries()} == {
        ("discarded", "endpoint_deleted")
    }


async def test_a_mark_stays_for_a_minute_and_as_long_as_it_has_work(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(1)
    await ledger.claim()
    await _mark(ledger, 1)
    await _discard(ledger)
    assert await _marks(ledger) == [1]

    await ledger.pool.execute(
        "UPDATE webhook_endpoints SET updated_at = now() - interval '2 min', "
        "state_changed_at = now() - interval '2 min'"
    )
    await _discard(ledger)
    assert await _marks(ledger) == [1]

    await ledger.pool.execute("DELETE FROM delivery_queue")
    await _discard(ledger)
    assert await _marks(ledger) == [None]


@pytest.mark.parametrize("state", ["paused", "disabled"])
async def test_what_was_held_for_too_long_is_discarded_in_chunks(ledger: DeliveryLedger, state: str) -> None:
    await ledger.endpoint()
    await ledger.happens(3)
    await _set_state(ledger, state, days_ago=8)
    await _age(ledger, days=8)

    assert [await _expire(ledger, limit=2) for _ in range(3)] == [2, 1, 0]

    assert {(row["state"], row["reason"]) for row in await ledger.deliveries()} == {
        ("discarded", "hold_expired")
    }
    assert await ledger.queued() == []


@pytest.mark.parametrize(
    ("state", "state_days", "due_days"), [("paused", 6, 8), ("paused", 8, 6), ("enabled", 8, 8)]
)
async def test_a_hold_lasts_from_the_later_of_two_moments(
    ledger: DeliveryLedger, state: str, state_days: int, due_days: int
) -> None:
    await ledger.endpoint()
    await ledger.happens(1)
    await _set_state(ledger, state, days_ago=state_days)
    await _age(ledger, days=due_days)

    assert await _expire(ledger) == 0
    assert await ledger.states() == {"pending": 1}


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("expired", [True, False])
async def test_what_had_arrived_stays_delivered_when_its_repetition_is_discarded(
    ledger: DeliveryLedger, by_hand: bool, expired: bool
) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(2)
    arrived, lost = sorted((await ledger.claim()).deliveries, key=lambda each: each.sequence)
    await ledger.record(delivered(arrived), failed(lost))
    before = (await ledger.deliveries())[0]["finished_at"]
    if by_hand:
        for each in (arrived, lost):
            await resend_delivery(ledger.pool, each.id)
    else:
        await start_replay(ledger.pool, endpoint_id, ReplayFilter(), rate_per_second=100)
        await advance_replays(ledger.pool, shards=ALL_SHARDS, seconds=1)
    if expired:
        await _set_state(ledger, "paused", days_ago=8)
        await _age(ledger, days=8)
        assert await _expire(ledger) == 2
    else:
        await _mark(ledger, 2)
        assert (await show_delivery(ledger.pool, arrived.id)).delivery.state == "delivered"
        assert await _discard(ledger) == 2

    first, second = await ledger.deliveries()
    assert (first["state"], first["reason"], first["finished_at"]) == ("delivered", None, before)
    assert (second["state"], second["reason"]) == (
        "discarded",
        "hold_expired" if expired else "drained",
    )
