"""Operational events go the way of all events, to the endpoints that ask for them and never to the one they speak of."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.endpoints import RetryMode
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.create_endpoint import NewEndpoint, create_endpoint
from mailement_webhooks.usecases.resend_delivery import resend_delivery
from tests.support.webhook_receiver import WebhookReceiver, status
from tests.support.webhooks import ANYWHERE, WebhookBrand

_QUICK = 1e-6
_OPERATIONAL = tuple(kind for kind in EventType if kind.startswith(("endpoint.", "delivery.")))


async def _watch(brand: WebhookBrand, url: str) -> None:
    """Adds an endpoint that hears of the others, and of nothing else."""
    await create_endpoint(
        brand.database.pool,
        brand.key_ring,
        NewEndpoint(url=url, brand_id=brand.id, event_types=_OPERATIONAL),
        guard=ANYWHERE,
    )


async def _told(brand: WebhookBrand) -> list[Envelope]:
    """What a relay would take to the broker."""
    rows = await brand.database.pool.fetch(
        "SELECT event_id, type, brand_id, occurred_at, data FROM outbox ORDER BY id"
    )
    return [
        Envelope(
            id=row["event_id"],
            type=row["type"],
            brand_id=row["brand_id"],
            occurred_at=row["occurred_at"],
            data=row["data"],
        )
        for row in rows
    ]


def _bodies(receiver: WebhookReceiver, path: str = "/watch") -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in receiver.requests if request.path == path]


async def test_a_delivery_that_is_given_up_is_told_of(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    receiver.behave(status(500, b"no"))
    failing, _ = await hooked.hear_at(receiver.url("/hook?token=hidden"), retries=RetryMode.ONCE)
    await _watch(hooked, receiver.url("/watch"))
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        (failed,) = await hooked.settled()
        await hooked.happen(*await _told(hooked))
        await hooked.settled(2)

    (body,) = _bodies(receiver)
    assert body["event"] == "delivery.exhausted"
    assert body["brand_slug"] == "nowness"
    assert body["data"]["endpoint"]["id"] == failing.id
    assert "hidden" not in json.dumps(body)
    told = body["data"]["delivery"]
    assert (told["id"], told["attempts"], told["reason"], told["status"]) == (failed.id, 1, "http_5xx", 500)


async def test_an_endpoint_hears_nothing_of_itself(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    receiver.behave(status(500))
    endpoint, _ = await hooked.hear_at(receiver.url(), retries=RetryMode.ONCE)
    await hooked.endpoint_changes(endpoint.id, event_types=[*endpoint.event_types, *_OPERATIONAL])
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        await hooked.settled()
        told = await _told(hooked)
        await hooked.happen(*told)
        await hooked.settled()

    assert [event.type for event in told] == ["delivery.exhausted"]
    assert len(receiver.requests) == 1


async def test_what_goes_wrong_with_an_operational_event_is_no_news(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    receiver.behave(status(500))
    receiver.behave(status(404), "/watch")
    await hooked.hear_at(receiver.url(), retries=RetryMode.ONCE)
    await _watch(hooked, receiver.url("/watch"))
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        await hooked.settled()
        await hooked.happen(*await _told(hooked))
        await hooked.settled(2)

    assert [event.type for event in await _told(hooked)] == ["delivery.exhausted"]


async def test_an_open_breaker_and_its_end_in_being_disabled_are_told_of(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    receiver.behave(status(500))
    failing, _ = await hooked.hear_at(receiver.url())
    await _watch(hooked, receiver.url("/watch"))
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        await hooked.until(lambda states: states.get(DeliveryState.HELD) == 1)
    assert [event.type for event in await _told(hooked)] == ["endpoint.failing"]
    # As if it had gone on like this for five days.
    await hooked.database.pool.execute(
        """UPDATE webhook_endpoint_health SET consecutive_failures = 19, failure_days = 3,
        first_failure_at = first_failure_at - $1::interval, hold_until = now()""",
        timedelta(days=5),
    )
    async with hooked.dispatching(pace=_QUICK):
        await hooked.until(lambda states: states.get(DeliveryState.HELD) == 1)
        await _disabled(hooked, failing.id)
        told = await _told(hooked)
        await hooked.happen(*told)
        await hooked.until(lambda states: states.get(DeliveryState.DELIVERED) == 2)

    assert [event.type for event in told] == ["endpoint.failing", "endpoint.disabled"]
    about = told[-1].data["endpoint"]
    assert (about["state"], about["state_reason"]) == ("disabled", "no_success")
    assert [body["event"] for body in _bodies(receiver)] == ["endpoint.failing", "endpoint.disabled"]


async def _disabled(brand: WebhookBrand, endpoint_id: EndpointId) -> None:
    async with asyncio.timeout(20):
        while (
            await brand.database.pool.fetchval(
                "SELECT state FROM webhook_endpoints WHERE id = $1", endpoint_id
            )
            != "disabled"
        ):
            await asyncio.sleep(0.02)


async def test_what_arrives_after_it_was_given_up_has_recovered(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    receiver.behave(status(500))
    await hooked.hear_at(receiver.url(), retries=RetryMode.ONCE)
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        (delivery,) = await hooked.settled()
        receiver.behave(status(204))
        for _ in range(2):
            await resend_delivery(hooked.database.pool, delivery.id)
            await hooked.settled()

    # The second time it had arrived before.
    assert [event.type for event in await _told(hooked)] == ["delivery.exhausted", "delivery.recovered"]


async def test_what_arrives_at_its_fifth_try_has_recovered(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url("/flaky?fail=4"))
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        await hooked.settled()

    assert [event.type for event in await _told(hooked)] == ["delivery.recovered"]
