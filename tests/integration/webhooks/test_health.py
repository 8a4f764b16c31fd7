"""How an endpoint fares is its owner's to say, until somebody switches it on again."""

from __future__ import annotations

from mailement_webhooks.rules.health import Health
from mailement_webhooks.usecases.enable_endpoint import enable_endpoint
from mailement_webhooks.usecases.leased_elsewhere import leased_elsewhere
from mailement_webhooks.usecases.load_endpoints import load_endpoints
from mailement_webhooks.usecases.save_health import save_health
from tests.support.delivery_ledger import ALL_SHARDS, DeliveryLedger


async def test_late_news_of_the_time_before_an_enabling_is_not_saved(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    assert await save_health(ledger.pool, {endpoint_id: Health(consecutive_failures=19)}) == {endpoint_id}
    async with ledger.pool.acquire() as connection:
        await enable_endpoint(connection, endpoint_id)

    late = await save_health(ledger.pool, {endpoint_id: Health(consecutive_failures=20)})

    (loaded,) = await load_endpoints(ledger.pool, [endpoint_id])
    assert late == set()
    assert loaded.health == Health(fresh_starts=1)


async def test_what_is_learned_after_an_enabling_is_saved(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await save_health(ledger.pool, {endpoint_id: Health(consecutive_failures=19)})
    async with ledger.pool.acquire() as connection:
        await enable_endpoint(connection, endpoint_id)

    news = Health(consecutive_failures=1, fresh_starts=1)

    assert await save_health(ledger.pool, {endpoint_id: news}) == {endpoint_id}


async def test_our_own_leases_are_not_taken_for_those_of_a_former_owner(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(3)
    (delivery, *_) = (await ledger.claim()).deliveries

    assert (await leased_elsewhere(ledger.pool, ALL_SHARDS))[endpoint_id][0] == 3
    assert await leased_elsewhere(ledger.pool, ALL_SHARDS, ours=[delivery.lease_token]) == {}
