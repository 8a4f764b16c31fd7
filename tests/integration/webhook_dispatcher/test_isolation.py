"""What `make bench-isolation` measures, as a gate with a generous margin."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.support.database import Database
from tests.support.webhook_receiver import WebhookReceiver, silence
from tests.support.webhooks import WebhookBrand

_BRANDS = 10
_EVENTS = 320
_PER_SECOND = 80
# The brand whose endpoint never answers gets every fifth event: 16 a second that hold a slot for three seconds each
# would want 48 of the 10 slots.
_SILENT_EVERY = 5
_HEALTHY_EVENTS = _EVENTS - _EVENTS // _SILENT_EVERY
_SLOTS = 10
_LONGEST_POST = 3.0
_MOST_SECONDS_P99 = 2.0


@pytest.fixture
async def brands(database: Database, receiver: WebhookReceiver) -> Sequence[WebhookBrand]:
    """One endpoint each; that of the first never answers."""
    receiver.behave(silence, "/0")
    first = await WebhookBrand.create(database, slug="brand-0")
    others = [await WebhookBrand.create(database, slug=f"brand-{number}") for number in range(1, _BRANDS)]
    made = [first, *(replace(other, keys=first.keys) for other in others)]
    for number, brand in enumerate(made):
        await brand.hear_at(receiver.url(f"/{number}"))
    return made


async def test_an_endpoint_that_never_answers_delays_no_other(
    database: Database, brands: Sequence[WebhookBrand]
) -> None:
    silent, *healthy = brands
    async with silent.dispatching(concurrency=_SLOTS, total_seconds=_LONGEST_POST):
        await _happen_steadily(silent, healthy)
        delays = await _delays(database, silent)

    assert len(delays) == _HEALTHY_EVENTS
    assert delays[int(len(delays) * 0.99)] < _MOST_SECONDS_P99


async def _happen_steadily(silent: WebhookBrand, healthy: Sequence[WebhookBrand]) -> None:
    """Each event at its moment, whatever became of those before it."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(_EVENTS):
            brand = healthy[number % len(healthy)] if number % _SILENT_EVERY else silent
            await asyncio.sleep(max(begun + number / _PER_SECOND - loop.time(), 0))
            group.create_task(brand.happen(brand.event(reader=number)))


async def _delays(database: Database, silent: WebhookBrand) -> list[float]:
    """Seconds from the ledger's first word to its last, of what the healthy ones have got within the time allowed."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _MOST_SECONDS_P99
    while True:
        rows = await database.pool.fetch(
            """SELECT extract(epoch FROM finished_at - created_at)::float8 AS seconds FROM deliveries
            WHERE brand_id <> $1 AND state = 'delivered'""",
            silent.id,
        )
        if len(rows) == _HEALTHY_EVENTS or loop.time() > deadline:
            return sorted(row["seconds"] for row in rows)
        await asyncio.sleep(0.05)
