"""Nothing vanishes: what comes for an endpoint that is not enabled is held, and drained when it is."""

from __future__ import annotations

import pytest

from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.endpoints import Drain, Endpoint
from mailement_webhooks.usecases.enable_endpoint import enable_endpoint
from mailement_webhooks.usecases.pause_endpoint import pause_endpoint
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import WebhookBrand

_HELD = 3


@pytest.fixture
async def paused(hooked: WebhookBrand, receiver: WebhookReceiver) -> Endpoint:
    """Three events came for it since."""
    endpoint, _ = await hooked.hear_at(receiver.url())
    paused = await pause_endpoint(hooked.database.pool, endpoint.id)
    await hooked.happen(*(hooked.event(reader=number) for number in range(1, _HELD + 1)))
    return paused


async def _enable(hooked: WebhookBrand, endpoint: Endpoint, drain: Drain) -> None:
    async with hooked.database.pool.acquire() as connection:
        await enable_endpoint(connection, endpoint.id, drain=drain)


async def test_what_is_held_goes_out_the_oldest_first(
    hooked: WebhookBrand, receiver: WebhookReceiver, paused: Endpoint
) -> None:
    async with hooked.dispatching(endpoint_concurrency=1):
        await hooked.until(lambda states: states == {DeliveryState.HELD: _HELD})
        assert receiver.requests == []

        await _enable(hooked, paused, Drain.OLDEST_FIRST)
        await hooked.settled(_HELD)

    assert [request.header("webhook-sequence") for request in receiver.requests] == ["1", "2", "3"]


async def test_newest_only_sends_the_last_and_discards_the_others(
    hooked: WebhookBrand, receiver: WebhookReceiver, paused: Endpoint
) -> None:
    async with hooked.dispatching():
        await _enable(hooked, paused, Drain.NEWEST_ONLY)
        deliveries = await hooked.settled(_HELD)

    assert [delivery.state for delivery in deliveries] == ["discarded", "discarded", "delivered"]
    assert {delivery.reason for delivery in deliveries[:2]} == {"drained"}
    assert [request.header("webhook-sequence") for request in receiver.requests] == ["3"]


async def test_discard_sends_none_of_them_and_what_comes_next(
    hooked: WebhookBrand, receiver: WebhookReceiver, paused: Endpoint
) -> None:
    async with hooked.dispatching():
        await _enable(hooked, paused, Drain.DISCARD)
        await hooked.happen(hooked.event())
        deliveries = await hooked.settled(_HELD + 1)

    assert [delivery.state for delivery in deliveries] == ["discarded"] * _HELD + ["delivered"]
    assert len(receiver.requests) == 1


async def test_an_endpoint_that_is_paused_gets_nothing_from_then_on(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url())
    async with hooked.dispatching():
        await hooked.happen(hooked.event())
        await hooked.settled()
        await pause_endpoint(hooked.database.pool, endpoint.id)
        await hooked.happen(hooked.event())
        await hooked.until(lambda states: states.get(DeliveryState.HELD) == 1)
        await _enable(hooked, endpoint, Drain.OLDEST_FIRST)
        await hooked.settled(2)

    assert len(receiver.requests) == 2


async def test_what_was_held_for_too_long_is_discarded_and_says_so(
    hooked: WebhookBrand, receiver: WebhookReceiver, paused: Endpoint
) -> None:
    await hooked.database.pool.execute("UPDATE delivery_queue SET due_at = due_at - interval '8 days'")
    await hooked.database.pool.execute(
        "ALTER TABLE webhook_endpoints DISABLE TRIGGER webhook_endpoint_changed"
    )
    await hooked.endpoint_changes(paused.id, state_changed_at=paused.created_at.replace(year=2020))

    async with hooked.dispatching():
        deliveries = await hooked.settled(_HELD)

    assert {(delivery.state, delivery.reason) for delivery in deliveries} == {("discarded", "hold_expired")}
    assert receiver.requests == []
