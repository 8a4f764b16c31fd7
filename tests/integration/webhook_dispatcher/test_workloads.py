"""What a dispatcher knows of endpoints that change, or change hands, while they are being loaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import asyncpg
import pytest

from mailement_webhook_dispatcher.shards import ALL_SHARDS
from mailement_webhook_dispatcher.workloads import Workloads
from mailement_webhooks.database import Connection
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.health import Health
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from tests.support.webhooks import WebhookBrand


class _Halting:
    """Has the answer, and hands it out when it may."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._pool.fetch(query, *arguments)
        self.asked.set()
        await self.may_answer.wait()
        return rows


class _Away:
    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        raise ConnectionError


@pytest.fixture
async def endpoint_id(hooked: WebhookBrand) -> EndpointId:
    endpoint, _ = await hooked.hear_at("https://receiver.example/hook")
    return endpoint.id


@pytest.fixture
def workloads(hooked: WebhookBrand) -> Workloads:
    """Of a dispatcher that owns all shards."""
    known = Workloads(hooked.key_ring, endpoint_cap=10, brand_cap=20)
    known.take(ALL_SHARDS)
    return known


@asynccontextmanager
async def _loading(
    hooked: WebhookBrand, workloads: Workloads, endpoint_id: EndpointId
) -> AsyncIterator[None]:
    connection = _Halting(hooked.database.pool)
    async with asyncio.TaskGroup() as group:
        group.create_task(workloads.load(cast("Connection", connection), [endpoint_id]))
        await connection.asked.wait()
        yield
        connection.may_answer.set()


async def test_a_change_during_the_first_load_is_not_taken_for_known(
    hooked: WebhookBrand, workloads: Workloads, endpoint_id: EndpointId
) -> None:
    async with _loading(hooked, workloads, endpoint_id):
        workloads.changed(endpoint_id)

    assert workloads.get(endpoint_id) is None


async def test_a_load_that_fails_forgets_no_change(
    hooked: WebhookBrand, workloads: Workloads, endpoint_id: EndpointId
) -> None:
    await workloads.load(cast("Connection", hooked.database.pool), [endpoint_id])
    workloads.changed(endpoint_id)

    with pytest.raises(ConnectionError):
        await workloads.load(cast("Connection", _Away()), [endpoint_id])

    assert workloads.get(endpoint_id) is None


async def test_what_is_given_up_during_its_load_is_not_ours(
    hooked: WebhookBrand, workloads: Workloads, endpoint_id: EndpointId
) -> None:
    async with _loading(hooked, workloads, endpoint_id):
        workloads.give_up(ALL_SHARDS)

    assert not workloads.is_ours(endpoint_id)


async def test_what_is_taken_during_its_load_is_not_foreign(
    hooked: WebhookBrand, workloads: Workloads, endpoint_id: EndpointId
) -> None:
    workloads.give_up(ALL_SHARDS)
    async with _loading(hooked, workloads, endpoint_id):
        workloads.take(ALL_SHARDS)

    assert not workloads.is_foreign(endpoint_id)


async def test_a_failure_that_is_recorded_during_a_load_is_not_taken_for_enabling(
    hooked: WebhookBrand, workloads: Workloads, endpoint_id: EndpointId
) -> None:
    await workloads.load(cast("Connection", hooked.database.pool), [endpoint_id])
    workload = workloads.get(endpoint_id)
    assert workload is not None
    async with _loading(hooked, workloads, endpoint_id):
        workload.health = workload.written = Health(consecutive_failures=1)

    assert workload.health.consecutive_failures == 1


async def test_an_endpoint_that_cannot_be_read_keeps_nobody_else_from_being_known(
    hooked: WebhookBrand, workloads: Workloads, endpoint_id: EndpointId
) -> None:
    newer = await WebhookBrand.create(hooked.database, slug="of-a-newer-release")
    other, _ = await newer.hear_at("https://receiver.example/hook")
    await newer.endpoint_changes(other.id, state_reason="a reason that is not known yet")

    await workloads.load(cast("Connection", hooked.database.pool), [other.id, endpoint_id])

    assert (workloads.is_ours(endpoint_id), workloads.is_ours(other.id)) == (True, False)


async def test_an_endpoint_that_was_deleted_is_forgotten(
    hooked: WebhookBrand, workloads: Workloads, endpoint_id: EndpointId
) -> None:
    await workloads.load(cast("Connection", hooked.database.pool), [endpoint_id])
    await delete_endpoint(hooked.database.pool, endpoint_id)

    await workloads.load(cast("Connection", hooked.database.pool), [endpoint_id])

    assert not workloads.is_ours(endpoint_id)
