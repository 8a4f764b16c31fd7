"""Everything that a few dispatchers do at the same time, without a deadlock, a loss or a gap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.health import Health
from mailement_webhooks.usecases.advance_replays import advance_replays
from mailement_webhooks.usecases.claim_deliveries import release_deliveries
from mailement_webhooks.usecases.discard_marked import discard_marked
from mailement_webhooks.usecases.expire_held import expire_held
from mailement_webhooks.usecases.reopen_expired import reopen_expired
from mailement_webhooks.usecases.save_health import save_health
from tests.support.delivery_ledger import ALL_SHARDS, DeliveryLedger, delivered, failed

_ENDPOINTS = 6
_BATCHES = 30


async def test_nobody_waits_in_a_circle_and_the_books_balance(ledger: DeliveryLedger) -> None:
    endpoints = [await ledger.endpoint(ordered=number % 2 == 0) for number in range(_ENDPOINTS)]
    await ledger.happens(40)
    await ledger.record(*(delivered(delivery) for delivery in (await ledger.claim()).deliveries))
    await ledger.pool.execute(
        "INSERT INTO webhook_replays (endpoint_id, rate_per_second, total, through_sequence) "
        "SELECT id, 200, 40, 40 FROM webhook_endpoints"
    )

    async def ingest() -> None:
        events = [ledger.event(subscriber=random.randrange(9)) for _ in range(12)]
        copies = [asyncio.create_task(ledger.happen(*random.sample(events, 12))) for _ in range(2)]
        await asyncio.gather(*copies)

    async def deliver(owned: Sequence[EndpointId]) -> None:
        claim = await ledger.claim(*owned, room=15, replay_room=5, lease_seconds=random.choice([0, 60]))
        shuffled = random.sample(list(claim.deliveries), len(claim.deliveries))
        cut = len(shuffled) // 5
        await release_deliveries(ledger.pool, shuffled[:cut])
        results = [
            random.choice([delivered(delivery), failed(delivery, again_in=0), failed(delivery)])
            for delivery in shuffled[cut:]
        ]
        await asyncio.gather(ledger.record(*results), ledger.record(*reversed(results)))
        await save_health(ledger.pool, dict.fromkeys(random.sample(endpoints, 4), Health()))

    async def keep_house() -> None:
        await reopen_expired(ledger.pool, limit=20)
        await advance_replays(ledger.pool, shards=ALL_SHARDS, seconds=0.05)
        async with ledger.pool.acquire() as connection:
            await discard_marked(connection, 50)
            await expire_held(connection, 7, 50)
        await ledger.pool.execute(
            "UPDATE webhook_endpoints SET discard_through = greatest(discard_through, 45) WHERE id = $1",
            random.choice(endpoints),
        )

    # Each endpoint has one owner who claims for it.
    owners = [partial(deliver, endpoints[owner::3]) for owner in range(3)]

    async def repeatedly(deed: Callable[[], Awaitable[None]]) -> None:
        for _ in range(_BATCHES):
            await deed()

    deeds: list[Callable[[], Awaitable[None]]] = [ingest, ingest, *owners, keep_house]
    await asyncio.gather(*(repeatedly(deed) for deed in deeds))

    numbers = list(range(1, 40 + 2 * _BATCHES * 12 + 1))
    assert await ledger.sequences() == dict.fromkeys(endpoints, numbers)
    await _balance(ledger)


async def _balance(ledger: DeliveryLedger) -> None:
    """What is pending stands in the queue and nothing else does; attempts are numbered from 1 without gaps."""
    await ledger.end_leases()
    await reopen_expired(ledger.pool, limit=100_000)
    unequal = await ledger.pool.fetchval(
        "SELECT count(*) FROM deliveries AS d FULL JOIN delivery_queue AS q ON d.id = q.delivery_id "
        "WHERE (d.state = 'pending') <> (q.delivery_id IS NOT NULL) OR d.id IS NULL"
    )
    gaps = await ledger.pool.fetchval(
        "SELECT count(*) FROM (SELECT a.delivery_id, count(*) AS many, max(a.number) AS last "
        "FROM delivery_attempts AS a GROUP BY a.delivery_id) AS a "
        "INNER JOIN deliveries AS d ON a.delivery_id = d.id LEFT JOIN delivery_queue AS q ON q.delivery_id = d.id "
        "WHERE a.many <> a.last OR a.last <> coalesce(q.attempts, d.attempts)"
    )
    assert (unequal, gaps) == (0, 0)
