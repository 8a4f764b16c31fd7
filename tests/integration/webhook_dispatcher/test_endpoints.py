"""What operators do with endpoints."""

from __future__ import annotations

import asyncio
import base64

import pytest

from mailement_common.ids import BrandId
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.errors import NoEndpoint, UrlRefused
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from mailement_webhooks.usecases.list_deliveries import list_deliveries
from mailement_webhooks.usecases.list_endpoints import list_endpoints
from mailement_webhooks.usecases.set_endpoint import secret_owner, set_endpoint
from mailement_webhooks.usecases.show_endpoint import show_endpoint
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import WebhookBrand

_URL = "https://receiver.example/hook"


async def test_the_secret_is_shown_once_and_stored_sealed(hooked: WebhookBrand) -> None:
    endpoint, secret = await hooked.hear_at(_URL)

    stored = await hooked.database.pool.fetchval("SELECT secret_sealed FROM webhook_endpoints")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert secret not in stored
    assert hooked.key_ring.open(stored, owner=secret_owner(endpoint.id)) == secret


async def test_setting_again_replaces_url_and_secret_and_keeps_one_endpoint(hooked: WebhookBrand) -> None:
    first, old_secret = await hooked.hear_at(_URL)
    second, new_secret = await hooked.hear_at("https://receiver.example/new")

    assert second.id == first.id
    assert second.url == "https://receiver.example/new"
    assert new_secret != old_secret
    assert await list_endpoints(hooked.database.pool, brand_id=hooked.id) == [second]


async def test_two_operators_at_once_make_one_endpoint(hooked: WebhookBrand) -> None:
    await asyncio.gather(*(hooked.hear_at(f"{_URL}/{number}") for number in range(8)))

    assert len(await list_endpoints(hooked.database.pool)) == 1


async def test_what_waits_for_the_old_url_goes_to_the_new_one_with_its_secret(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url("/old"))
    await hooked.happen(hooked.event())
    await hooked.hear_at(receiver.url("/new"))

    async with hooked.dispatching():
        await hooked.settled()

    assert [request.path for request in receiver.requests] == ["/new"]


async def test_a_url_that_cannot_be_a_target_is_refused_and_changes_nothing(hooked: WebhookBrand) -> None:
    endpoint, _ = await hooked.hear_at(_URL)

    async with hooked.database.pool.acquire() as connection:
        with pytest.raises(UrlRefused, match="loopback"):
            await set_endpoint(
                connection,
                hooked.key_ring,
                hooked.id,
                hooked.account_id,
                "http://127.0.0.1/hook",
                guard=Guard(),
            )

    assert await list_endpoints(hooked.database.pool) == [endpoint]


async def test_endpoints_are_listed_by_account_and_by_brand(hooked: WebhookBrand) -> None:
    other = await WebhookBrand.create(hooked.database, slug="other")
    mine, _ = await hooked.hear_at(_URL)
    theirs, _ = await other.hear_at(_URL)

    pool = hooked.database.pool
    assert await list_endpoints(pool) == [mine, theirs]
    assert await list_endpoints(pool, account_id=other.account_id) == [theirs]
    assert await list_endpoints(pool, brand_id=hooked.id) == [mine]


async def test_a_deleted_endpoint_hears_nothing_and_can_be_set_anew(hooked: WebhookBrand) -> None:
    first, _ = await hooked.hear_at(_URL)
    async with hooked.database.pool.acquire() as connection:
        await delete_endpoint(connection, hooked.id)
    await hooked.happen(hooked.event())
    second, _ = await hooked.hear_at(_URL)

    assert await hooked.deliveries() == []
    assert second.id != first.id


async def test_a_brand_without_an_endpoint_says_so(hooked: WebhookBrand) -> None:
    with pytest.raises(NoEndpoint):
        await show_endpoint(hooked.database.pool, hooked.id)
    async with hooked.database.pool.acquire() as connection:
        with pytest.raises(NoEndpoint):
            await delete_endpoint(connection, BrandId(hooked.id))


async def test_deliveries_are_listed_in_pages_and_by_state(hooked: WebhookBrand) -> None:
    await hooked.hear_at(_URL)
    await hooked.happen(*(hooked.event() for _ in range(5)))
    pool = hooked.database.pool

    first = await list_deliveries(pool, hooked.id, limit=3)
    second = await list_deliveries(pool, hooked.id, limit=3, before=first[-1].id)

    ids = [delivery.id for delivery in (*first, *second)]
    assert len(ids) == 5
    assert ids == sorted(ids, reverse=True)
    assert len(await list_deliveries(pool, hooked.id, state=DeliveryState.PENDING)) == 5
    assert await list_deliveries(pool, hooked.id, state=DeliveryState.FAILED) == []
