"""Where an endpoint asks for it, the events of one subscriber arrive in their order, whatever fails on the way."""

from __future__ import annotations

import asyncio
import json

import pytest

from mailement_webhooks.deliveries import DeliveryState
from tests.support.webhook_receiver import Received, WebhookReceiver, ok, status
from tests.support.webhooks import WebhookBrand

_QUICK = 1e-4
_ANNA, _BERT = 1, 2


@pytest.fixture
async def ordered(hooked: WebhookBrand, receiver: WebhookReceiver) -> WebhookBrand:
    """Its endpoint takes each event at the second try."""
    endpoint, _ = await hooked.hear_at(receiver.url("/flaky?fail=1"))
    await hooked.endpoint_changes(endpoint.id, ordered=True)
    return hooked


def _posted_for(receiver: WebhookReceiver, wanted: list[str]) -> list[str]:
    """The ids of these events in the order of their posts."""
    ids = [request.header("webhook-id") for request in receiver.requests]
    return [event_id for event_id in ids if event_id in wanted]


async def test_a_later_event_of_a_subscriber_waits_for_the_earlier_one(
    ordered: WebhookBrand, receiver: WebhookReceiver
) -> None:
    annas = [ordered.event(reader=_ANNA) for _ in range(3)]
    await ordered.happen(*annas, ordered.event(reader=_BERT))

    async with ordered.dispatching(pace=_QUICK):
        await ordered.settled(4)

    first, second, third = (str(event.id) for event in annas)
    assert _posted_for(receiver, [first, second, third]) == [first, first, second, second, third, third]


async def test_other_subscribers_are_not_held_up(ordered: WebhookBrand, receiver: WebhookReceiver) -> None:
    async def nothing_for_anna(request: Received, writer: asyncio.StreamWriter) -> None:
        reader = json.loads(request.body)["data"]["subscriber"]["id"]
        await (status(500) if reader == _ANNA else ok)(request, writer)

    receiver.behave(nothing_for_anna, "/flaky")
    anna, later, bert = (ordered.event(reader=reader) for reader in (_ANNA, _ANNA, _BERT))
    await ordered.happen(anna, later, bert)

    async with ordered.dispatching():
        await ordered.until(lambda states: states.get(DeliveryState.DELIVERED) == 1)

    assert _posted_for(receiver, [str(later.id)]) == []
    assert _posted_for(receiver, [str(bert.id)]) == [str(bert.id)]


async def test_the_wait_is_bounded(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    receiver.behave(status(500))
    endpoint, _ = await hooked.hear_at(receiver.url())
    await hooked.endpoint_changes(endpoint.id, ordered=True)
    events = [hooked.event(reader=_ANNA) for _ in range(2)]
    await hooked.happen(*events)

    # The first is tried again after five seconds; the second does not wait for that.
    async with hooked.dispatching(order_seconds=1):
        await receiver.received(2)

    assert _posted_for(receiver, [str(event.id) for event in events]) == [str(event.id) for event in events]
