"""From an event to a POST and its row in the ledger."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
import standardwebhooks

from mailement_common.events.types import EventType
from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.usecases.show_endpoint import show_endpoint
from tests.support.webhook_receiver import WebhookReceiver, redirect, status
from tests.support.webhooks import WebhookBrand, outcomes


async def test_an_event_is_posted_once_and_recorded(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching():
        (delivery,) = await hooked.settled()

    assert len(receiver.requests) == 1
    assert (delivery.state, outcomes(delivery)) == (DeliveryState.DELIVERED, [(1, "delivered")])
    (attempt,) = delivery.attempts
    assert (attempt.status_code, attempt.response_body, attempt.reason) == (200, "ok", None)


async def test_the_request_is_the_one_of_the_document(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    _, secret = await hooked.hear_at(receiver.url("/hook?sig=a%2Fb%20c"))
    event = hooked.event()
    await hooked.happen(event)

    async with hooked.dispatching():
        (request,) = await receiver.received(1)
        await hooked.settled()

    expected = "sha256=" + hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.path == "/hook?sig=a%2Fb%20c"
    assert request.headers[1:5] == (
        ("Content-Type", "application/json"),
        ("User-Agent", "Mailement-Webhook/1.0"),
        ("X-Mailement-Event", "subscriber.confirmed"),
        ("X-Mailement-Signature", expected),
    )
    assert json.loads(request.body)["data"]["subscriber"]["email"] == "reader@example.com"
    headers = dict(request.headers)
    assert headers["webhook-id"] == str(event.id)
    standardwebhooks.Webhook(secret).verify(request.body, headers)


async def test_each_of_the_four_types_is_posted_and_no_other(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(*(hooked.event(event_type) for event_type in EventType))

    async with hooked.dispatching():
        await hooked.settled(4)

    assert {request.header("X-Mailement-Event") for request in receiver.requests} == {
        "subscriber.confirmed",
        "subscriber.unsubscribed",
        "subscriber.bounced",
        "subscriber.complained",
    }


@pytest.mark.parametrize(
    ("code", "reason"),
    [(500, Reason.HTTP_5XX), (503, Reason.HTTP_5XX), (404, Reason.HTTP_4XX), (410, Reason.HTTP_4XX)],
)
async def test_an_error_is_recorded_and_not_tried_again(
    hooked: WebhookBrand, receiver: WebhookReceiver, code: int, reason: Reason
) -> None:
    receiver.behave(status(code, b"\xff\x00 no"))
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching():
        (delivery,) = await hooked.settled()
        await hooked.happen(hooked.event())
        await hooked.settled(2)

    assert len(receiver.requests) == 2
    assert (delivery.state, delivery.reason, outcomes(delivery)) == (
        DeliveryState.FAILED,
        reason,
        [(1, "failed")],
    )
    assert (delivery.attempts[0].status_code, delivery.attempts[0].response_body) == (code, "\ufffd\ufffd no")


async def test_a_redirect_is_not_followed(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    receiver.behave(redirect(receiver.url("/elsewhere?token=hidden")))
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching():
        (delivery,) = await hooked.settled()

    assert [request.path for request in receiver.requests] == ["/hook"]
    assert delivery.reason is Reason.REDIRECT
    detail = delivery.attempts[0].detail
    assert detail is not None
    assert receiver.url("/elsewhere") in detail
    assert "hidden" not in detail


async def test_an_event_that_comes_twice_is_posted_once(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    event = hooked.event()
    await hooked.happen(event, event)
    await hooked.happen(event)

    async with hooked.dispatching():
        await hooked.settled()
        await hooked.happen(event, hooked.event())
        await hooked.settled(2)

    assert len(receiver.requests) == 2


async def test_an_event_that_nobody_hears_leaves_no_row(hooked: WebhookBrand) -> None:
    await hooked.happen(hooked.event())

    assert await hooked.database.pool.fetchval("SELECT count(*) FROM webhook_events") == 0
    assert await hooked.deliveries() == []


async def test_another_brands_events_are_not_heard(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    other = await WebhookBrand.create(hooked.database, slug="other")
    await hooked.hear_at(receiver.url())

    await other.happen(other.event())

    assert await other.deliveries() == []


async def test_an_endpoint_of_the_account_hears_all_its_brands(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url())
    stranger = await WebhookBrand.create(hooked.database, slug="stranger")
    await hooked.database.pool.execute(
        "UPDATE webhook_endpoints SET brand_id = NULL WHERE id = $1", endpoint.id
    )

    await hooked.happen(hooked.event(), stranger.event())

    assert [delivery.endpoint_id for delivery in await hooked.deliveries()] == [endpoint.id]
    assert await stranger.deliveries() == []


async def test_a_secret_of_another_key_ring_is_told_apart_from_a_bad_endpoint(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())
    other_keys = WebhookBrand(database=hooked.database, account_id=hooked.account_id, id=hooked.id)

    async with other_keys.dispatching():
        (delivery,) = await hooked.settled()

    assert delivery.reason is Reason.SECRET_UNREADABLE
    assert receiver.requests == []


async def test_show_counts_and_names_the_last_failure(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url())
    async with hooked.dispatching():
        await hooked.happen(hooked.event())
        await hooked.settled()
        receiver.behave(status(502))
        await hooked.happen(hooked.event())
        await hooked.settled(2)
    await hooked.happen(hooked.event())

    report = await show_endpoint(hooked.database.pool, hooked.id)

    assert report.endpoint == endpoint
    assert (report.waiting, report.delivered, report.failed) == (1, 1, 1)
    assert report.last_failure is not None
    assert (report.last_failure.reason, report.last_failure.status_code) == (Reason.HTTP_5XX, 502)
