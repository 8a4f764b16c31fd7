"""No endpoint and no brand has more under way than it may, however many dispatchers run."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from mailement_webhooks.deliveries import DeliveryState
from mailement_webhooks.usecases.create_endpoint import NewEndpoint, create_endpoint
from tests.support.webhook_receiver import Behaviour, Received, WebhookReceiver, ok
from tests.support.webhooks import ANYWHERE, WebhookBrand


@dataclass(slots=True)
class _Turnstile:
    """Counts who is inside, where everybody stays for a moment."""

    seconds: float
    inside: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    def at(self, name: str) -> Behaviour:
        async def answer(request: Received, writer: asyncio.StreamWriter) -> None:
            self.inside[name] += 1
            self.most[name] = max(self.most[name], self.inside[name])
            self.most["all"] = max(self.most["all"], sum(self.inside.values()))
            try:
                await asyncio.sleep(self.seconds)
            finally:
                self.inside[name] -= 1
            await ok(request, writer)

        return answer


async def _second_endpoint(brand: WebhookBrand, url: str) -> None:
    await create_endpoint(
        brand.database.pool, brand.key_ring, NewEndpoint(url=url, brand_id=brand.id), guard=ANYWHERE
    )


async def test_caps_hold_exactly_with_two_dispatchers(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    turnstile = _Turnstile(seconds=0.02)
    for name in ("one", "two"):
        receiver.behave(turnstile.at(name), f"/{name}")
    await hooked.hear_at(receiver.url("/one"))
    await _second_endpoint(hooked, receiver.url("/two"))
    await hooked.happen(*(hooked.event() for _ in range(60)))

    async with (
        hooked.dispatching(endpoint_concurrency=4, brand_concurrency=6),
        hooked.dispatching(endpoint_concurrency=4, brand_concurrency=6),
    ):
        await hooked.settled(120)

    assert turnstile.most == {"one": 4, "two": 4, "all": 6}


async def test_what_a_dead_dispatcher_has_under_way_counts(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    turnstile = _Turnstile(seconds=0.02)
    receiver.behave(turnstile.at("one"))
    await hooked.hear_at(receiver.url())
    await hooked.happen(*(hooked.event() for _ in range(12)))
    await hooked.database.pool.execute(
        """UPDATE delivery_queue SET lease_token = gen_random_uuid(), leased_at = now(), attempts = 1,
        due_at = now() + interval '2 seconds'
        WHERE delivery_id IN (SELECT q.delivery_id FROM delivery_queue AS q LIMIT 3)"""
    )

    async with hooked.dispatching(endpoint_concurrency=4):
        await hooked.until(lambda states: states.get(DeliveryState.DELIVERED) == 9)
        most_beside_the_dead = turnstile.most["one"]
        await hooked.settled(12)

    assert most_beside_the_dead == 1


async def test_an_endpoints_own_cap_goes_before_the_setting(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    turnstile = _Turnstile(seconds=0.01)
    receiver.behave(turnstile.at("one"))
    endpoint, _ = await hooked.hear_at(receiver.url())
    await hooked.endpoint_changes(endpoint.id, max_in_flight=3)
    await hooked.happen(*(hooked.event() for _ in range(30)))

    async with hooked.dispatching():
        await hooked.settled(30)

    assert turnstile.most["one"] == 3


async def test_a_rate_limit_is_kept(hooked: WebhookBrand, receiver: WebhookReceiver) -> None:
    endpoint, _ = await hooked.hear_at(receiver.url())
    await hooked.endpoint_changes(endpoint.id, rate_per_second=10.0)
    await hooked.happen(*(hooked.event() for _ in range(25)))
    loop = asyncio.get_running_loop()

    async with hooked.dispatching():
        await receiver.received(1)
        begun = loop.time()
        await receiver.received(25)
        took = loop.time() - begun
        await hooked.settled(25)

    # Ten at once, fifteen more at ten a second.
    assert 1.4 < took < 4


async def test_it_is_the_dispatchers_slots_that_bound_all_endpoints_together(
    hooked: WebhookBrand, receiver: WebhookReceiver
) -> None:
    turnstile = _Turnstile(seconds=0.01)
    names = [f"e{number}" for number in range(6)]
    for name in names:
        receiver.behave(turnstile.at(name), f"/{name}")
        await _second_endpoint(hooked, receiver.url(f"/{name}"))
    await hooked.happen(*(hooked.event() for _ in range(10)))

    async with hooked.dispatching(concurrency=8):
        await hooked.settled(60)

    assert turnstile.most["all"] == 8
