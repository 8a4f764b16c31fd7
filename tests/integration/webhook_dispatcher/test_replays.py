"""A replay goes its own pace beside what is live, and never before it."""

from __future__ import annotations

import asyncio
from collections import Counter

from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.replays import Replay, ReplayFilter
from mailement_webhooks.usecases.enable_endpoint import enable_endpoint
from mailement_webhooks.usecases.list_replays import show_replay
from mailement_webhooks.usecases.pause_endpoint import pause_endpoint
from mailement_webhooks.usecases.start_replay import start_replay
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import WebhookBrand, outcomes

_PAST = 4
_FAST = 1000.0


async def _replayed(brand: WebhookBrand, replay: Replay) -> Replay:
    async with asyncio.timeout(20):
        while not (now := await show_replay(brand.database.pool, replay.id)).has_ended:
            await asyncio.sleep(0.05)
    return now


async def _start(brand: WebhookBrand, endpoint_id: EndpointId) -> Replay:
    return await start_replay(brand.database.pool, endpoint_id, ReplayFilter(), rate_per_second=_FAST)


async def test_everything_arrives_once_more_and_is_counted(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url())
    await hooked.happen(*(hooked.event() for _ in range(_PAST)))

    async with hooked.dispatching():
        await hooked.settled(_PAST)
        replay = await _replayed(hooked, await _start(hooked, endpoint.id))

    assert (replay.total, replay.enqueued, replay.delivered, replay.failed) == (_PAST, _PAST, _PAST, 0)
    copies = Counter(request.header("webhook-id") for request in receiver.requests)
    assert set(copies.values()) == {2}
    for delivery in await hooked.deliveries():
        assert outcomes(delivery) == [(1, "delivered"), (2, "delivered")]
        assert delivery.attempts[1].trigger == "replay"


async def test_what_is_live_goes_first(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url())
    await hooked.happen(*(hooked.event() for _ in range(_PAST)))
    live = [hooked.event() for _ in range(6)]

    async with hooked.dispatching(endpoint_concurrency=1):
        await hooked.settled(_PAST)
        await pause_endpoint(hooked.database.pool, endpoint.id)
        replay = await _start(hooked, endpoint.id)
        await _queued(hooked, _PAST)
        await hooked.happen(*live)
        async with hooked.database.pool.acquire() as connection:
            await enable_endpoint(connection, endpoint.id)
        await _replayed(hooked, replay)
        await hooked.settled(_PAST + len(live))

    since = [request.header("webhook-id") for request in receiver.requests[_PAST:]]
    assert since[: len(live)] == [str(event.id) for event in live]
    assert len(since) == len(live) + _PAST


async def _queued(brand: WebhookBrand, count: int) -> None:
    async with asyncio.timeout(20):
        while await brand.database.pool.fetchval("SELECT count(*) FROM delivery_queue") < count:
            await asyncio.sleep(0.05)


async def test_a_replay_survives_its_dispatcher(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url())
    await hooked.happen(*(hooked.event() for _ in range(_PAST)))
    async with hooked.dispatching():
        await hooked.settled(_PAST)
        replay = await _start(hooked, endpoint.id)

    async with hooked.dispatching():
        ended = await _replayed(hooked, replay)

    assert ended.delivered == _PAST
    assert await hooked.states() == {DeliveryState.DELIVERED: _PAST}
