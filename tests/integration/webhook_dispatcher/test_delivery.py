"""From an event to a POST and its row in the ledger."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import replace

import standardwebhooks
from structlog.testing import capture_logs

from mailement_common.events.types import EventType
from mailement_webhook_dispatcher.gauges import find_missing
from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.endpoints import Profile, RetryMode
from mailement_webhooks.rules.profiles import OWN_EVENT_TYPES
from mailement_webhooks.usecases.create_endpoint import NewEndpoint, create_endpoint
from tests.support.webhook_receiver import WebhookReceiver, redirect
from tests.support.webhooks import ANYWHERE, WebhookBrand, outcomes


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
    await hooked.happen(
        *(hooked.event(event_type) for event_type in EventType if event_type not in OWN_EVENT_TYPES)
    )

    async with hooked.dispatching():
        await hooked.settled(4)

    assert {request.header("X-Mailement-Event") for request in receiver.requests} == {
        "subscriber.confirmed",
        "subscriber.unsubscribed",
        "subscriber.bounced",
        "subscriber.complained",
    }


async def test_a_redirect_is_not_followed(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    receiver.behave(redirect(receiver.url("/elsewhere?token=hidden")))
    await hooked.hear_at(receiver.url(), retries=RetryMode.ONCE)
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

    assert await hooked.database.pool.fetchval("SELECT count(*) FROM delivery_payloads") == 0
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


async def test_a_maily_endpoint_gets_what_its_document_says(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    _, secret = await create_endpoint(
        hooked.database.pool,
        hooked.key_ring,
        NewEndpoint(url=receiver.url(), brand_id=hooked.id, profile=Profile.MAILY),
        guard=ANYWHERE,
    )
    await hooked.happen(hooked.event())

    async with hooked.dispatching():
        (request,) = await receiver.received(1)
        await hooked.settled()

    assert request.header("X-Maily-Event") == "subscriber.created"
    assert re.fullmatch(r"evt_[a-z0-9]{24}", request.header("X-Maily-Delivery-Id"))
    expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.header("X-Maily-Signature") == expected
    body = json.loads(request.body)
    assert (body["id"], body["event"]) == (request.header("X-Maily-Delivery-Id"), "subscriber.created")
    standardwebhooks.Webhook(secret).verify(request.body, dict(request.headers))


async def test_the_ledger_tells_what_went_over_the_wire(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching():
        (delivery,) = await hooked.settled()

    (attempt,) = delivery.attempts
    assert attempt.request_head is not None
    assert attempt.request_head.startswith("POST /hook HTTP/1.1\r\n")
    assert "webhook-signature: v1," in attempt.request_head
    assert attempt.response_head is not None
    assert attempt.response_head.startswith("HTTP/1.1 200 OK\r\n")
    assert None not in (attempt.phases.connect, attempt.phases.first_byte, attempt.phases.body)
    assert attempt.trigger == "automatic"


async def test_sequences_count_up_without_gaps(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    await hooked.hear_at(receiver.url())
    async with hooked.dispatching():
        for _ in range(4):
            await hooked.happen(*(hooked.event() for _ in range(5)))
        await hooked.settled(20)

    sequences = sorted(int(request.header("webhook-sequence")) for request in receiver.requests)
    assert sequences == list(range(1, 21))


async def test_the_trace_of_an_event_goes_on_in_its_post(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await hooked.hear_at(receiver.url())
    await hooked.happen(replace(hooked.event(), traceparent=trace))

    async with hooked.dispatching():
        (request,) = await receiver.received(1)

    assert request.header("traceparent") == trace


async def test_one_connection_serves_one_post_after_the_other(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    async with hooked.dispatching():
        for count in range(1, 4):
            await hooked.happen(hooked.event())
            await hooked.settled(count)

    assert receiver.connections == 1


async def test_nothing_is_missing_afterwards(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event(), hooked.event())
    async with hooked.dispatching():
        await hooked.settled(2)
    assert await find_missing(hooked.database.pool) == 0

    await hooked.happen(hooked.event())
    await hooked.database.pool.execute("DELETE FROM delivery_queue")

    assert await find_missing(hooked.database.pool) == 1


async def test_an_endpoint_that_an_event_never_reached_is_missing(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    other, _ = await create_endpoint(
        hooked.database.pool,
        hooked.key_ring,
        NewEndpoint(url=receiver.url(), brand_id=hooked.id),
        guard=ANYWHERE,
    )
    await hooked.happen(hooked.event())
    await hooked.database.pool.execute("DELETE FROM delivery_queue WHERE endpoint_id = $1", other.id)
    await hooked.database.pool.execute("DELETE FROM deliveries WHERE endpoint_id = $1", other.id)
    await hooked.database.pool.execute("UPDATE deliveries SET created_at = now() + interval '2 minutes'")

    assert await find_missing(hooked.database.pool) == 1


async def test_each_attempt_is_one_line_with_its_numbers_and_no_url_or_secret(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    endpoint, secret = await hooked.hear_at(receiver.url("/hook?token=hidden"))
    event = replace(hooked.event(), traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    await hooked.happen(event)

    with capture_logs() as lines:
        async with hooked.dispatching():
            (delivery,) = await hooked.settled()

    (line,) = (line for line in lines if line["event"] == "webhook.attempted")
    assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (line["delivery_id"], line["event_id"]) == (delivery.id, str(event.id))
    assert (line["endpoint_id"], line["brand_id"]) == (endpoint.id, hooked.id)
    assert (line["type"], line["attempt"], line["trigger"]) == (event.type, 1, "automatic")
    assert (line["outcome"], line["reason"], line["status"]) == ("delivered", None, 200)
    assert (line["next_attempt_in_seconds"], line["recorded"]) == (None, True)
    assert {"duration_ms", "connect_ms", "first_byte_ms", "body_ms"} <= line.keys()
    assert "hidden" not in str(line)
    assert secret not in str(line)
