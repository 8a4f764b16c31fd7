"""Hot statements cost what is due, not what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from mailement_webhooks.usecases import claim_deliveries, reopen_expired
from tests.support.database import Database

_ENDPOINTS = 1_000
_BACKLOG = 30_000
_FINISHED = 60_000


@pytest.fixture
async def crowded(database: Database) -> Database:
    """A thousand endpoints with some work, one of them with a long queue, and a long past."""
    async with database.pool.acquire() as connection:
        await connection.execute(
            f"""
            INSERT INTO accounts (slug, name) VALUES ('a', 'a');
            INSERT INTO brands (account_id, slug, name, opt_in_mode) VALUES (1, 'b', 'b', 'single');
            INSERT INTO webhook_endpoints (account_id, brand_id, url, secret_sealed, event_types)
            SELECT 1, 1, 'https://receiver.example/', 'sealed', ARRAY['subscriber.confirmed']
            FROM generate_series(1, {_ENDPOINTS});
            INSERT INTO webhook_deliveries (event_id, endpoint_id, brand_id, state, due_at)
            SELECT gen_random_uuid(), 1 + n % {_ENDPOINTS}, 1, 'delivered', now()
            FROM generate_series(1, {_FINISHED}) AS n;
            INSERT INTO webhook_deliveries (event_id, endpoint_id, brand_id, due_at)
            SELECT gen_random_uuid(), 1 + n % {_ENDPOINTS}, 1, now() FROM generate_series(1, {_ENDPOINTS} * 5) AS n;
            INSERT INTO webhook_deliveries (event_id, endpoint_id, brand_id, due_at)
            SELECT gen_random_uuid(), 7, 1, now() FROM generate_series(1, {_BACKLOG});
            """
        )
        await connection.execute("VACUUM ANALYZE webhook_deliveries, webhook_endpoints")
    return database


async def _explain(database: Database, query: str, *arguments: Any) -> dict[str, Any]:
    """Runs it and undoes what it did."""
    async with database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        found = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
        await transaction.rollback()
    (explained,) = orjson.loads(found)
    plan: dict[str, Any] = explained["Plan"]
    return plan


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _scanned(plan: dict[str, Any], table: str) -> list[str]:
    return [node["Node Type"] for node in _nodes(plan) if node.get("Relation Name") == table]


@pytest.mark.parametrize("cursor", [0, 500, 999])
async def test_a_claim_reads_little_more_than_it_takes(crowded: Database, cursor: int) -> None:
    plan = await _explain(crowded, claim_deliveries.SQL["claim"], cursor, 100, 10, 15.0, [7, 20], [0, 3])

    assert "Seq Scan" not in _scanned(plan, "webhook_deliveries")
    assert plan["Actual Rows"] == 100
    turns = next(node for node in _nodes(plan) if node.get("Subplan Name") == "CTE turns")
    assert turns["Actual Rows"] == 100
    ring = next(node for node in _nodes(plan) if node.get("Subplan Name") == "CTE ring")
    assert ring["Actual Rows"] <= 110
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 6_000


async def test_finding_expired_leases_reads_no_others(crowded: Database) -> None:
    plan = await _explain(crowded, reopen_expired.SQL["reopen"], 500)

    assert "Seq Scan" not in _scanned(plan, "webhook_deliveries")
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 50
