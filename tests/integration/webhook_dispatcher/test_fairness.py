"""No endpoint takes what another needs, however slow it is."""

from __future__ import annotations

from dataclasses import replace

from mailement_webhooks.deliveries import DeliveryState
from tests.support.database import Database
from tests.support.webhook_receiver import WebhookReceiver, silence
from tests.support.webhooks import WebhookBrand


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
    assert {delivery.state for delivery in slow_ones} <= {DeliveryState.PENDING, DeliveryState.LEASED}
