"""Replays are counted, started, watched, paused, resumed, cancelled, and given another rate."""

from __future__ import annotations

from typing import Any

import pytest

from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.errors import EndpointNotFound, InvalidReplay, ReplayHasEnded, ReplayNotFound
from mailement_webhooks.ids import EndpointId, ReplayId
from mailement_webhooks.replays import Replay, ReplayFilter, ReplayState
from mailement_webhooks.usecases.advance_replays import advance_replays
from mailement_webhooks.usecases.change_replay import (
    cancel_replay,
    pause_replay,
    resume_replay,
    set_replay_rate,
)
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from mailement_webhooks.usecases.list_replays import list_replays, show_replay
from mailement_webhooks.usecases.start_replay import count_replay, start_replay
from tests.support.database import Database
from tests.support.delivery_ledger import ALL_SHARDS, DeliveryLedger, delivered, failed

EVERYTHING = ReplayFilter()


async def _past(ledger: DeliveryLedger, count: int = 4, *, failing: int = 1) -> EndpointId:
    """An endpoint with so many finished deliveries, and one that waits."""
    endpoint_id = await ledger.endpoint()
    await ledger.happens(count)
    done = sorted((await ledger.claim(endpoint_id)).deliveries, key=lambda each: each.sequence)
    await ledger.record(
        *(failed(each) for each in done[:failing]), *(delivered(each) for each in done[failing:])
    )
    await ledger.happens(1)
    return endpoint_id


async def _advance(ledger: DeliveryLedger) -> None:
    await advance_replays(ledger.pool, shards=ALL_SHARDS, seconds=1)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (EVERYTHING, 4),
        (ReplayFilter(outcomes=(DeliveryState.FAILED,)), 1),
        (ReplayFilter(outcomes=(DeliveryState.DELIVERED, DeliveryState.FAILED)), 4),
        (ReplayFilter(outcomes=(DeliveryState.DISCARDED,)), 0),
        (ReplayFilter(types=("subscriber.confirmed",)), 4),
        (ReplayFilter(types=("subscriber.bounced",)), 0),
    ],
)
async def test_a_dry_run_counts_what_a_replay_then_finds(
    ledger: DeliveryLedger, wanted: ReplayFilter, count: int
) -> None:
    endpoint_id = await _past(ledger)
    counted = await count_replay(ledger.pool, endpoint_id, wanted)
    assert (counted.deliveries, counted.is_exact) == (count, True)
    assert await list_replays(ledger.pool) == []

    started = await start_replay(ledger.pool, endpoint_id, wanted, rate_per_second=100)
    await _advance(ledger)
    assert (started.total, (await show_replay(ledger.pool, started.id)).enqueued) == (count, count)


async def test_the_time_of_events_bounds_a_replay(ledger: DeliveryLedger) -> None:
    endpoint_id = await _past(ledger)
    times = sorted(row["occurred_at"] for row in await ledger.deliveries())
    counted = await count_replay(
        ledger.pool, endpoint_id, ReplayFilter(occurred_from=times[1], occurred_until=times[3])
    )
    assert counted.deliveries == 2


async def test_a_replay_is_watched_to_its_end(ledger: DeliveryLedger) -> None:
    endpoint_id = await _past(ledger)
    (waiting,) = (await ledger.claim(endpoint_id)).deliveries
    started = await start_replay(ledger.pool, endpoint_id, EVERYTHING, rate_per_second=2)
    assert (started.state, started.total, started.waiting) == (ReplayState.RUNNING, 4, 0)
    assert started.time_left is not None
    assert started.time_left.total_seconds() == 2

    seen: list[Replay] = []
    while not seen or not seen[-1].has_ended:
        assert len(seen) < 20
        await _advance(ledger)
        due = (await ledger.claim(room=10, replay_room=10)).deliveries
        seen.append(await show_replay(ledger.pool, started.id))
        await ledger.record(*(delivered(each) for each in due))
    await ledger.record(delivered(waiting))
    done = await show_replay(ledger.pool, started.id)

    assert max(replay.waiting for replay in seen) > 0
    assert (done.state, done.enqueued, done.delivered, done.failed, done.waiting) == (
        ReplayState.FINISHED,
        4,
        4,
        0,
        0,
    )
    assert (done.time_left, done.finished_at is None) == (None, False)


async def test_a_paused_replay_stands_still_until_it_is_resumed(ledger: DeliveryLedger) -> None:
    endpoint_id = await _past(ledger)
    replay = await start_replay(ledger.pool, endpoint_id, EVERYTHING, rate_per_second=100)
    assert (await pause_replay(ledger.pool, replay.id)).state is ReplayState.PAUSED
    await _advance(ledger)
    assert (await show_replay(ledger.pool, replay.id)).enqueued == 0

    assert (await resume_replay(ledger.pool, replay.id)).state is ReplayState.RUNNING
    await _advance(ledger)
    assert (await show_replay(ledger.pool, replay.id)).enqueued == 4


async def test_a_cancelled_replay_leaves_deliveries_as_they_were_and_stays_cancelled(
    ledger: DeliveryLedger,
) -> None:
    endpoint_id = await _past(ledger)
    before = await ledger.states()
    replay = await start_replay(ledger.pool, endpoint_id, EVERYTHING, rate_per_second=100)
    await _advance(ledger)
    assert (await cancel_replay(ledger.pool, replay.id)).state is ReplayState.CANCELLED
    await _advance(ledger)
    await _advance(ledger)

    assert await ledger.states() == before
    assert (await show_replay(ledger.pool, replay.id)).waiting == 0
    for deed in (pause_replay, resume_replay, cancel_replay):
        with pytest.raises(ReplayHasEnded):
            await deed(ledger.pool, replay.id)
    with pytest.raises(ReplayHasEnded):
        await set_replay_rate(ledger.pool, replay.id, 1)


async def test_the_rate_can_be_changed_on_the_way(ledger: DeliveryLedger) -> None:
    replay = await start_replay(ledger.pool, await _past(ledger), EVERYTHING)
    assert (await set_replay_rate(ledger.pool, replay.id, 0.5)).rate_per_second == 0.5


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"types": ("subscriber.created",)}, "types"),
        ({"types": ()}, "types"),
        ({"outcomes": (DeliveryState.PENDING,)}, "outcomes"),
        ({"outcomes": ()}, "outcomes"),
    ],
)
async def test_a_filter_that_finds_nothing_by_its_nature_is_refused(
    ledger: DeliveryLedger, given: dict[str, Any], field: str
) -> None:
    endpoint_id = await ledger.endpoint()
    for deed in (count_replay, start_replay):
        with pytest.raises(InvalidReplay) as refused:
            await deed(ledger.pool, endpoint_id, ReplayFilter(**given))
        assert refused.value.field == field


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e-300, 0.0009, 1000.1, float("nan"), float("inf")])
async def test_a_rate_that_cannot_be_kept_is_refused(ledger: DeliveryLedger, rate: float) -> None:
    endpoint_id = await ledger.endpoint()
    with pytest.raises(InvalidReplay):
        await start_replay(ledger.pool, endpoint_id, EVERYTHING, rate_per_second=rate)
    assert await list_replays(ledger.pool) == []


async def test_replays_are_listed_the_newest_first_and_in_pages(ledger: DeliveryLedger) -> None:
    first, second = await ledger.endpoint(), await ledger.endpoint()
    ids = [(await start_replay(ledger.pool, each, EVERYTHING)).id for each in (first, second, first)]

    assert [each.id for each in await list_replays(ledger.pool, endpoint_id=first)] == [ids[2], ids[0]]
    assert [each.id for each in await list_replays(ledger.pool, limit=1, before=ids[2])] == [ids[1]]


async def test_a_deleted_endpoint_is_replayed_no_more(ledger: DeliveryLedger) -> None:
    endpoint_id = await _past(ledger)
    replay = await start_replay(ledger.pool, endpoint_id, EVERYTHING)
    await delete_endpoint(ledger.pool, endpoint_id)

    assert (await show_replay(ledger.pool, replay.id)).state is ReplayState.CANCELLED
    with pytest.raises(EndpointNotFound):
        await start_replay(ledger.pool, endpoint_id, EVERYTHING)


async def test_a_brand_replays_nothing_of_another_nor_of_its_account(
    ledger: DeliveryLedger, database: Database
) -> None:
    other = await DeliveryLedger.create(database, slug="other")
    for endpoint_id in (await other.endpoint(), await ledger.endpoint(every_brand=True)):
        for start in (count_replay, start_replay):
            with pytest.raises(EndpointNotFound):
                await start(ledger.pool, endpoint_id, EVERYTHING, brand_id=ledger.brand_id)
        replay = await start_replay(ledger.pool, endpoint_id, EVERYTHING)
        for change in (show_replay, pause_replay, resume_replay, cancel_replay):
            with pytest.raises(ReplayNotFound):
                await change(ledger.pool, replay.id, brand_id=ledger.brand_id)
        with pytest.raises(ReplayNotFound):
            await set_replay_rate(ledger.pool, replay.id, 1, brand_id=ledger.brand_id)
        assert await list_replays(ledger.pool, brand_id=ledger.brand_id) == []
        assert (await show_replay(ledger.pool, replay.id)).state is ReplayState.RUNNING
    with pytest.raises(ReplayNotFound):
        await show_replay(ledger.pool, ReplayId(404))
