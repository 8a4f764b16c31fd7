from __future__ import annotations

from mailement_common.events.types import EventType
from mailement_newsletter.catalog.brands import delete_brand, find_brand
from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from tests.support.database import Database
from tests.support.webhooks import WebhookBrand


async def test_nothing_is_posted_for_a_brand_that_has_been_deleted(database: Database) -> None:
    brand = await WebhookBrand.create(database)
    await brand.hear_at("http://127.0.0.1:9/")
    async with database.pool.acquire() as connection:
        await delete_brand(connection, await find_brand(connection, "nowness"))

    await brand.happen(brand.event(EventType.SUBSCRIBER_UNSUBSCRIBED))

    assert await brand.deliveries() == []


async def test_what_waited_when_the_endpoint_went_is_shown_as_discarded(database: Database) -> None:
    brand = await WebhookBrand.create(database)
    endpoint, _ = await brand.hear_at("http://127.0.0.1:9/")
    await brand.happen(brand.event())
    await delete_endpoint(database.pool, endpoint.id)

    (delivery,) = await brand.deliveries()
    assert (delivery.state, delivery.reason) == (DeliveryState.DISCARDED, Reason.ENDPOINT_DELETED)
