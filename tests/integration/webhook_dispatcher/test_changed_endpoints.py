"""What the dispatcher makes of an endpoint that is changed while it runs."""

from __future__ import annotations

import standardwebhooks

from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import WebhookBrand


async def test_what_waits_for_the_old_url_goes_to_the_new_one_with_its_secret(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url("/old"))
    await hooked.happen(hooked.event())
    _, secret = await hooked.hear_at(receiver.url("/new"))

    async with hooked.dispatching():
        await hooked.settled()

    (request,) = receiver.requests
    assert request.path == "/new"
    standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))


async def test_a_change_is_known_with_the_next_post(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    await hooked.hear_at(receiver.url("/old"))
    async with hooked.dispatching():
        await hooked.happen(hooked.event())
        await hooked.settled()
        _, secret = await hooked.hear_at(receiver.url("/new"))
        await hooked.happen(hooked.event())
        await hooked.settled(2)

    old, new = receiver.requests
    assert (old.path, new.path) == ("/old", "/new")
    standardwebhooks.Webhook(secret).verify(new.body, dict(new.headers))


async def test_a_change_that_was_not_heard_is_seen_at_the_claim(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url("/old"))
    async with hooked.dispatching():
        await hooked.happen(hooked.event())
        await hooked.settled()
        await hooked.database.pool.execute("ALTER TABLE webhook_endpoints DISABLE TRIGGER ALL")
        await hooked.endpoint_changes(endpoint.id, url=receiver.url("/new"), version=endpoint.version + 1)
        await hooked.happen(hooked.event())
        deliveries = await hooked.settled(2)

    assert [request.path for request in receiver.requests] == ["/old", "/new"]
    # What was claimed with the old URL in mind was given back, and is no attempt.
    assert [len(delivery.attempts) for delivery in deliveries] == [1, 1]


async def test_a_deleted_endpoint_hears_nothing_and_can_be_set_anew(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    first, _ = await hooked.hear_at(receiver.url("/first"))
    async with hooked.dispatching():
        await delete_endpoint(hooked.database.pool, first.id)
        await hooked.happen(hooked.event())
        await hooked.hear_at(receiver.url("/second"))
        await hooked.happen(hooked.event())
        await hooked.settled()

    assert [request.path for request in receiver.requests] == ["/second"]
