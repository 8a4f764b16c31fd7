"""An endpoint that fails again and again is left in peace, and nothing is spent on it meanwhile."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from mailement_webhook_dispatcher.concurrency import FIRST_LIMIT
from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.rules.health import FAILURES_THAT_TRIP
from tests.support.clocks import ClockAhead
from tests.support.webhook_receiver import Behaviour, Received, WebhookReceiver, after, status
from tests.support.webhooks import WebhookBrand

_QUICK = 1e-6
_WAITING = 5


@pytest.fixture
async def failing(hooked: WebhookBrand, receiver: WebhookReceiver) -> WebhookBrand:
    """Its endpoint answers 500, and five events wait for it."""
    receiver.behave(status(500))
    await hooked.hear_at(receiver.url())
    await hooked.happen(*(hooked.event() for _ in range(_WAITING)))
    return hooked


async def _health(brand: WebhookBrand) -> asyncpg.Record | None:
    return await brand.database.pool.fetchrow("SELECT breaker_trips, hold_until FROM webhook_endpoint_health")


async def _tripped(brand: WebhookBrand, times: int) -> None:
    async with asyncio.timeout(20):
        while (health := await _health(brand)) is None or health["breaker_trips"] < times:
            await asyncio.sleep(0.02)


async def _tries(brand: WebhookBrand) -> int:
    tries: int = await brand.database.pool.fetchval("SELECT sum(tries) FROM delivery_queue")
    return tries


async def test_after_ten_failures_in_a_row_everything_is_held(
    failing: WebhookBrand, receiver: WebhookReceiver
) -> None:
    async with failing.dispatching(pace=_QUICK):
        await _tripped(failing, 1)
        await failing.until(lambda states: states == {DeliveryState.HELD: _WAITING})

    # A new endpoint gets two at a time: one may have been under way when the tenth failure was written down.
    assert FAILURES_THAT_TRIP <= len(receiver.requests) <= FAILURES_THAT_TRIP + 2


async def test_a_probe_that_fails_spends_no_try_and_doubles_the_rest(
    failing: WebhookBrand, receiver: WebhookReceiver
) -> None:
    clock = ClockAhead()
    async with failing.dispatching(pace=_QUICK, clock=clock):
        await _tripped(failing, 1)
        await failing.until(lambda states: states == {DeliveryState.HELD: _WAITING})
        spent, posted = await _tries(failing), len(receiver.requests)

        clock.advance(timedelta(seconds=34))
        await _tripped(failing, 2)

    assert len(receiver.requests) == posted + 1
    assert await _tries(failing) == spent
    health = await _health(failing)
    assert health is not None
    assert timedelta(seconds=55) < health["hold_until"] - clock.now() < timedelta(seconds=67)


async def test_a_probe_that_arrives_lets_the_others_follow(
    failing: WebhookBrand, receiver: WebhookReceiver
) -> None:
    clock = ClockAhead()
    async with failing.dispatching(pace=_QUICK, clock=clock):
        await _tripped(failing, 1)
        receiver.behave(status(204))
        clock.advance(timedelta(seconds=34))
        await failing.settled(_WAITING)

    health = await _health(failing)
    assert health is not None
    assert (health["breaker_trips"], health["hold_until"]) == (0, None)


async def test_the_next_probe_is_another_delivery(failing: WebhookBrand, receiver: WebhookReceiver) -> None:
    clock = ClockAhead()
    async with failing.dispatching(pace=_QUICK, clock=clock):
        await _tripped(failing, 1)
        await failing.until(lambda states: states == {DeliveryState.HELD: _WAITING})
        begun = len(receiver.requests)
        for trips in (2, 3):
            clock.advance(timedelta(minutes=2))
            await _tripped(failing, trips)

    first, second = receiver.requests[begun:]
    assert first.header("webhook-id") != second.header("webhook-id")


async def test_a_restart_forgets_nothing(failing: WebhookBrand, receiver: WebhookReceiver) -> None:
    async with failing.dispatching(pace=_QUICK):
        await _tripped(failing, 1)
    posted = len(receiver.requests)

    async with failing.dispatching(pace=_QUICK):
        await failing.happen(failing.event())
        await failing.until(lambda states: states == {DeliveryState.HELD: _WAITING + 1})

    assert len(receiver.requests) == posted


async def test_after_the_breaker_closed_an_endpoint_is_ramped_up_anew(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    clock, released = ClockAhead(), asyncio.Event()
    await hooked.hear_at(receiver.url())
    async with hooked.dispatching(pace=_QUICK, clock=clock):
        # It is found to take ten at a time.
        await hooked.happen(*(hooked.event() for _ in range(60)))
        await hooked.settled(60)
        receiver.behave(status(500))
        await hooked.happen(*(hooked.event() for _ in range(30)))
        await _tripped(hooked, 1)
        await hooked.until(lambda states: states[DeliveryState.HELD] == 30)

        arrived = len(receiver.requests)
        receiver.behave(_first_then(released))
        clock.advance(timedelta(seconds=34))
        await receiver.received(arrived + 3)
        leased = await hooked.database.pool.fetchval(
            "SELECT count(*) FROM delivery_queue WHERE lease_token IS NOT NULL"
        )
        released.set()
        await hooked.settled(90)

    assert leased == FIRST_LIMIT


def _first_then(moment: asyncio.Event) -> Behaviour:
    """The first is answered at once, the others when the moment has come."""
    probes = iter([status(204)])

    async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
        await next(probes, after(moment))(request, writer)

    return answer
