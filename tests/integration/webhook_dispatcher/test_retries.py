"""When a delivery that failed is tried again, and when it is given up. The schedule is a thousand times as fast here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.endpoints import EndpointState, RetryMode
from mailement_webhooks.rules.retries import MOST_TRIES, REFUSALS_BELIEVED
from mailement_webhooks.usecases.enable_endpoint import enable_endpoint
from mailement_webhooks.usecases.list_endpoints import list_endpoints
from tests.support.webhook_receiver import Received, WebhookReceiver, status
from tests.support.webhooks import WebhookBrand, outcomes

_QUICK = 1e-6


async def test_a_delivery_that_fails_is_tried_until_it_arrives(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url("/flaky?fail=3"))
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        (delivery,) = await hooked.settled()

    assert delivery.state is DeliveryState.DELIVERED
    assert outcomes(delivery) == [(1, "failed"), (2, "failed"), (3, "failed"), (4, "delivered")]
    assert len({request.header("webhook-id") for request in receiver.requests}) == 1


async def test_what_is_tried_again_says_when(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    receiver.behave(status(500))
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching():
        await receiver.received(1)
        await hooked.until(lambda states: states.get(DeliveryState.PENDING) == 1)
    (delivery,) = await hooked.deliveries()

    (attempt,) = delivery.attempts
    assert attempt.next_attempt_at == delivery.delivery.next_attempt_at
    assert attempt.next_attempt_at is not None
    assert 4.9 < (attempt.next_attempt_at - attempt.started_at).total_seconds() < 6.6


async def test_at_the_end_of_the_schedule_it_is_given_up(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url(f"/flaky?fail={MOST_TRIES}"))
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        # Its breaker opens on the way, and nothing would be charged any more.
        await hooked.until(lambda states: states.get(DeliveryState.HELD) == 1)
        async with hooked.database.pool.acquire() as connection:
            await enable_endpoint(connection, endpoint.id)
        (delivery,) = await hooked.settled()

    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, Reason.HTTP_5XX)
    assert len(delivery.attempts) == MOST_TRIES


async def test_once_means_once(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    receiver.behave(status(500))
    await hooked.hear_at(receiver.url(), retries=RetryMode.ONCE)
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        (delivery,) = await hooked.settled()

    assert (delivery.state, outcomes(delivery)) == (DeliveryState.FAILED, [(1, "failed")])
    assert receiver.requests[0].header("Connection") == "close"


@pytest.mark.parametrize(
    ("code", "reason"), [(404, Reason.HTTP_4XX), (307, Reason.REDIRECT), (600, Reason.HTTP_OTHER)]
)
async def test_a_refusal_is_tried_three_times(
    hooked: WebhookBrand, receiver: WebhookReceiver, code: int, reason: Reason
) -> None:
    receiver.behave(status(code, b"\xff\x00 no"))
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        (delivery,) = await hooked.settled()

    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, reason)
    assert len(delivery.attempts) == REFUSALS_BELIEVED
    last = delivery.attempts[-1]
    assert (last.status_code, last.response_body, last.next_attempt_at) == (code, "\ufffd\ufffd no", None)


async def test_a_refusal_during_a_deployment_does_not_end_what_was_tried_often(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    answers = iter([503, 503, 503, 503, 404, 503, 404, 404, 200])

    async def deploying(request: Received, writer: asyncio.StreamWriter) -> None:
        await status(next(answers))(request, writer)

    receiver.behave(deploying)
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        (delivery,) = await hooked.settled()

    assert delivery.state is DeliveryState.DELIVERED
    assert len(delivery.attempts) == 9


async def test_an_endpoint_that_asks_to_be_left_alone_is_left_alone(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url("/429?after=30"))
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        await receiver.received(1)
        await hooked.until(lambda states: states.get(DeliveryState.HELD) == 1)
        await hooked.happen(hooked.event())
        await hooked.until(lambda states: states.get(DeliveryState.HELD) == 2)

    assert len(receiver.requests) == 1
    first, second = await hooked.deliveries()
    assert first.attempts[0].next_attempt_at is not None
    assert second.attempts == ()


async def test_gone_twice_in_a_row_disables_and_what_waits_is_held(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    receiver.behave(status(410))
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())

    async with hooked.dispatching(pace=_QUICK):
        await receiver.received(2)
        await hooked.until(lambda states: states.get(DeliveryState.HELD) == 1)
        await hooked.happen(hooked.event())
        await hooked.until(lambda states: states.get(DeliveryState.HELD) == 2)

    assert len(receiver.requests) == 2
    (endpoint,) = await list_endpoints(hooked.database.pool)
    assert (endpoint.state, endpoint.state_reason) == (EndpointState.DISABLED, "gone")


async def test_a_fault_of_ours_is_charged_to_nobody(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())
    other_keys = WebhookBrand(database=hooked.database, account_id=hooked.account_id, id=hooked.id)

    async with other_keys.dispatching(pace=_QUICK):
        await _until(lambda: _attempts(hooked), at_least=3)
    assert receiver.requests == []
    assert await hooked.database.pool.fetchval("SELECT tries FROM delivery_queue") == 0
    assert await hooked.database.pool.fetchval("SELECT count(*) FROM webhook_endpoint_health") == 0

    async with hooked.dispatching(pace=_QUICK):
        (delivery,) = await hooked.settled()
    assert delivery.state is DeliveryState.DELIVERED
    assert {attempt.reason for attempt in delivery.attempts} == {Reason.SECRET_UNREADABLE, None}


async def _attempts(hooked: WebhookBrand) -> int:
    count: int = await hooked.database.pool.fetchval("SELECT count(*) FROM delivery_attempts")
    return count


async def _until(count: Callable[[], Awaitable[int]], *, at_least: int) -> None:
    async with asyncio.timeout(20):
        while await count() < at_least:
            await asyncio.sleep(0.02)


async def test_what_was_removed_cannot_be_sent_and_says_so(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    await hooked.hear_at(receiver.url())
    await hooked.happen(hooked.event())
    await hooked.database.pool.execute("UPDATE delivery_payloads SET body = NULL")

    async with hooked.dispatching():
        (delivery,) = await hooked.settled()

    assert receiver.requests == []
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, Reason.PAYLOAD_REMOVED)
