"""No endpoint takes what another needs, however slow it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.claim_deliveries import Claim, claim_deliveries
from tests.support.database import Database
from tests.support.webhook_receiver import WebhookReceiver, silence
from tests.support.webhooks import WebhookBrand

_START = EndpointId(0)


@pytest.fixture
async def brands(database: Database) -> list[WebhookBrand]:
    """Five brands, each with an endpoint and seven events that wait."""
    brands = [await WebhookBrand.create(database, slug=f"brand-{number}") for number in range(5)]
    for brand in brands:
        await brand.hear_at("http://192.0.2.1/hook")
        await brand.happen(*(brand.event() for _ in range(7)))
    return brands


async def _claim(
    database: Database,
    *,
    slots: int,
    limit: int = 10,
    cursor: EndpointId = _START,
    under_way: dict[EndpointId, int] | None = None,
) -> Claim:
    return await claim_deliveries(
        database.pool,
        cursor=cursor,
        slots=slots,
        endpoint_limit=limit,
        under_way=under_way or {},
        lease_seconds=15,
    )


def _per_brand(claim: Claim, brands: list[WebhookBrand]) -> list[int]:
    return [sum(delivery.brand_id == brand.id for delivery in claim.deliveries) for brand in brands]


async def test_slots_are_shared_evenly(database: Database, brands: list[WebhookBrand]) -> None:
    assert _per_brand(await _claim(database, slots=10), brands) == [2, 2, 2, 2, 2]


async def test_few_slots_go_round(database: Database, brands: list[WebhookBrand]) -> None:
    first = await _claim(database, slots=3)
    second = await _claim(database, slots=3, cursor=first.cursor)

    assert _per_brand(first, brands) == [1, 1, 1, 0, 0]
    assert _per_brand(second, brands) == [1, 0, 0, 1, 1]


async def test_an_endpoint_gets_no_more_than_its_limit(
    database: Database, brands: list[WebhookBrand]
) -> None:
    assert _per_brand(await _claim(database, slots=100, limit=4), brands) == [4, 4, 4, 4, 4]


async def test_what_is_under_way_counts_against_the_limit(
    database: Database, brands: list[WebhookBrand]
) -> None:
    everything = await _claim(database, slots=5, limit=4)
    endpoints = [delivery.endpoint_id for delivery in everything.deliveries]

    claim = await _claim(database, slots=100, limit=4, under_way={endpoints[0]: 4, endpoints[1]: 3})

    assert _per_brand(claim, brands) == [0, 1, 4, 4, 4]


async def test_the_oldest_go_first(database: Database, brands: list[WebhookBrand]) -> None:
    claim = await _claim(database, slots=100, limit=3)

    for brand in brands:
        oldest = [delivery.id for delivery in (await brand.deliveries())[:3]]
        assert [delivery.id for delivery in claim.deliveries if delivery.brand_id == brand.id] == oldest


async def test_nothing_is_claimed_twice(database: Database, brands: list[WebhookBrand]) -> None:
    claims = [await _claim(database, slots=100) for _ in range(3)]

    ids = [delivery.id for claim in claims for delivery in claim.deliveries]
    assert len(ids) == len(set(ids)) == 35


async def test_a_disabled_endpoint_is_passed_over(database: Database, brands: list[WebhookBrand]) -> None:
    await database.pool.execute(
        "UPDATE webhook_endpoints SET state = 'disabled' WHERE brand_id = $1", brands[0].id
    )

    assert _per_brand(await _claim(database, slots=4), brands) == [0, 1, 1, 1, 1]


async def test_a_silent_endpoint_delays_no_other(database: Database, receiver: WebhookReceiver) -> None:
    slow = await WebhookBrand.create(database, slug="slow")
    quick = replace(await WebhookBrand.create(database, slug="quick"), keys=slow.keys)
    receiver.behave(silence, "/slow")
    await slow.hear_at(receiver.url("/slow"))
    await quick.hear_at(receiver.url("/quick"))
    await slow.happen(*(slow.event() for _ in range(8)))
    await quick.happen(*(quick.event() for _ in range(20)))

    async with slow.dispatching(concurrency=4, endpoint_concurrency=2, total_seconds=2):
        await quick.settled(20)
        slow_ones = await slow.deliveries()

    assert sum(path == "/slow" for path in (request.path for request in receiver.requests)) == 2
    assert [delivery.finished_at for delivery in slow_ones] == [None] * 8
