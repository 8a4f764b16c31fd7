"""Parts of the dispatcher without its sweep, which would find what they forget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import asyncpg
import pytest

from mailement_common.clock import SystemClock
from mailement_webhook_dispatcher.attempt import Attempter
from mailement_webhook_dispatcher.capacity import Capacity
from mailement_webhook_dispatcher.deliverer import Deliverer
from mailement_webhook_dispatcher.handlers import ingest
from mailement_webhook_dispatcher.housekeeping import Housekeeping, Keeping
from mailement_webhook_dispatcher.http.exchange import Limits
from mailement_webhook_dispatcher.lineup import Lineup
from mailement_webhook_dispatcher.recorder import Recorder
from mailement_webhook_dispatcher.sender import Sender
from mailement_webhook_dispatcher.shards import ALL_SHARDS, ShardOwner
from mailement_webhook_dispatcher.workloads import Workloads
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.usecases.announce_due import CHANNEL
from mailement_webhooks.usecases.claim_deliveries import Turn, claim_deliveries
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import ANYWHERE, WebhookBrand


class _Owner:
    """Owns what it is told to own. The first `failures` claims fail."""

    connected = True

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.owned: frozenset[Shard] = ALL_SHARDS
        self.failures = 0
        self.looked = asyncio.Event()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[_Owner]:
        yield self
        self.looked.set()

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        if self.failures:
            self.failures -= 1
            raise ConnectionError
        rows: list[asyncpg.Record] = await self._pool.fetch(query, *arguments)
        return rows

    def stir(self) -> None:
        pass


@asynccontextmanager
async def _delivering(
    hooked: WebhookBrand, owner: _Owner, *, brand_cap: int = 20, recorder: Recorder | None = None
) -> AsyncIterator[Lineup]:
    pool = hooked.database.pool
    workloads = Workloads(hooked.key_ring, endpoint_cap=10, brand_cap=brand_cap)
    workloads.take(ALL_SHARDS)
    recorder = recorder or Recorder(pool, pace=1)
    limits = Limits(connect_seconds=3, total_seconds=5)
    capacity = Capacity(slots=10, lease_seconds=60, order_seconds=600)
    lineup = Lineup(workloads, SystemClock(), capacity)
    async with Sender(ANYWHERE) as sender:
        deliverer = Deliverer(
            pool,
            cast("ShardOwner", owner),
            workloads,
            lineup,
            Attempter(sender, SystemClock(), dict.fromkeys(Profile, limits)),
            recorder,
            capacity,
        )
        stop = asyncio.Event()
        recording = asyncio.create_task(recorder.run(deliverer.settled))
        running = asyncio.create_task(deliverer.run(stop))
        try:
            yield lineup
        finally:
            stop.set()
            await running
            recording.cancel()


@pytest.fixture
async def endpoint_id(hooked: WebhookBrand, receiver: WebhookReceiver) -> EndpointId:
    endpoint, _ = await hooked.hear_at(receiver.url())
    return endpoint.id


async def test_what_is_due_in_a_shard_that_was_to_be_given_up_and_stayed_is_sent(
    hooked: WebhookBrand, endpoint_id: EndpointId
) -> None:
    await hooked.happen(hooked.event())
    owner = _Owner(hooked.database.pool)
    owner.owned = frozenset()
    async with _delivering(hooked, owner) as lineup:
        lineup.wake([endpoint_id])
        await owner.looked.wait()
        owner.owned = ALL_SHARDS
        await hooked.settled()


async def test_who_stood_behind_a_claim_that_failed_has_its_turn(
    hooked: WebhookBrand, receiver: WebhookReceiver, endpoint_id: EndpointId
) -> None:
    idle = await _one_that_hears_nothing(hooked)
    await hooked.happen(hooked.event())
    owner = _Owner(hooked.database.pool)
    owner.failures = 1
    async with _delivering(hooked, owner, brand_cap=1) as lineup:
        lineup.wake([idle, endpoint_id])
        await hooked.settled()


async def test_what_is_replayed_to_one_is_not_kept_back_by_what_is_live_for_others(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    replayed, _ = await hooked.hear_at(receiver.url("/replayed"))
    await hooked.happen(hooked.event())
    await hooked.database.pool.execute(
        "UPDATE delivery_queue SET lane = 1, trigger = 'replay', replay_id = 1"
    )
    others = [await _busy_brand(hooked, receiver, number) for number in range(6)]
    async with _delivering(hooked, _Owner(hooked.database.pool)) as lineup:
        lineup.wake([*others, replayed.id])
        await hooked.settled()

    paths = [request.path for request in receiver.requests]
    assert paths.index("/replayed") < 100


async def _busy_brand(hooked: WebhookBrand, receiver: WebhookReceiver, number: int) -> EndpointId:
    """With fifty deliveries that wait."""
    brand = replace(await WebhookBrand.create(hooked.database, slug=f"busy-{number}"), keys=hooked.keys)
    endpoint, _ = await brand.hear_at(receiver.url("/live"))
    await brand.happen(*(brand.event() for _ in range(50)))
    return endpoint.id


class _Flaky:
    """A pool whose database is away until it is back."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.away = True

    def acquire(self) -> object:
        if self.away:
            raise ConnectionError
        return self._pool.acquire()


async def test_a_recorder_is_behind_from_an_outage_until_all_of_it_is_written(
    hooked: WebhookBrand, endpoint_id: EndpointId
) -> None:
    flaky = _Flaky(hooked.database.pool)
    recorder = Recorder(cast("asyncpg.Pool", flaky), pace=1)
    await hooked.happen(hooked.event())
    async with _delivering(hooked, _Owner(hooked.database.pool), recorder=recorder) as lineup:
        lineup.wake([endpoint_id])
        async with asyncio.timeout(10):
            while not recorder.is_behind:
                await asyncio.sleep(0.01)
        flaky.away = False
        await hooked.settled()
        await recorder.drained()

    assert not recorder.is_behind


async def test_no_lease_is_taken_for_a_dead_ones_while_the_recorder_is_behind(
    hooked: WebhookBrand, endpoint_id: EndpointId
) -> None:
    pool = hooked.database.pool
    await hooked.happen(hooked.event())
    async with pool.acquire() as connection:
        turn = Turn(endpoint_id=endpoint_id, room=1, replay_room=0)
        await claim_deliveries(connection, [turn], lease_seconds=0, order_seconds=600)
    asked, behind, stop = asyncio.Event(), [True], asyncio.Event()

    def is_behind() -> bool:
        asked.set()
        return behind[0]

    async with asyncio.TaskGroup() as group:
        housekeeping = Housekeeping(
            pool,
            Keeping(hold_days=7, ledger_days=90, payload_days=30),
            owned=lambda: (),
            wake=lambda _: None,
            is_ours=lambda _: True,
            is_behind=is_behind,
            look_everywhere=lambda: None,
        )
        group.create_task(housekeeping.run(stop))
        await asked.wait()
        assert (await hooked.states())[DeliveryState.LEASED] == 1
        behind[0] = False
        await hooked.until(lambda states: states.get(DeliveryState.LEASED, 0) == 0)
        stop.set()


async def test_the_new_owner_is_told_of_what_was_committed_while_it_took_over(
    hooked: WebhookBrand, endpoint_id: EndpointId
) -> None:
    pool = hooked.database.pool
    answers, heard = iter([True]), asyncio.Queue[object]()
    async with pool.acquire() as connection:

        def listener(*told: object) -> None:
            heard.put_nowait(told[-1])

        await connection.add_listener(CHANNEL, listener)
        await ingest(pool, wake=lambda _: None, is_ours=lambda _: next(answers, False))([hooked.event()])
        async with asyncio.timeout(10):
            assert await heard.get() == str(endpoint_id)
        await connection.remove_listener(CHANNEL, listener)


async def _one_that_hears_nothing(hooked: WebhookBrand) -> EndpointId:
    found = await hooked.database.pool.fetchval(
        """
        INSERT INTO webhook_endpoints (account_id, brand_id, profile, url, event_types, secret_sealed)
        SELECT account_id, brand_id, profile, url, ARRAY['subscriber.bounced'], secret_sealed FROM webhook_endpoints
        RETURNING id
        """
    )
    return EndpointId(found)
