"""Hot statements cost what they take, not what is stored: for any plan, however the tables looked when it was made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest

from mailement_common.db.pool import connect
from mailement_common.ids import BrandId, EventId
from mailement_common.settings import DatabaseSettings
from mailement_webhooks.database import BY_INDEX
from mailement_webhooks.deliveries import Reason
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import DeliveryId, EndpointId
from mailement_webhooks.usecases.advance_replays import advance_replays
from mailement_webhooks.usecases.claim_deliveries import Turn, claim_deliveries, release_deliveries
from mailement_webhooks.usecases.discard import discard
from mailement_webhooks.usecases.discard_marked import discard_marked
from mailement_webhooks.usecases.expire_held import expire_held
from mailement_webhooks.usecases.find_due import find_due
from mailement_webhooks.usecases.keep_ledger import tend_ledger
from mailement_webhooks.usecases.leased_elsewhere import leased_elsewhere
from mailement_webhooks.usecases.load_endpoints import load_endpoints
from mailement_webhooks.usecases.record_attempts import record_attempts
from mailement_webhooks.usecases.record_events import WebhookEvent, record_events
from mailement_webhooks.usecases.reopen_expired import reopen_expired
from tests.support.database import Database
from tests.support.delivery_ledger import ALL_SHARDS, TYPE, delivered, failed

_ENDPOINTS = 2_000
_CROWDED = EndpointId(7)
_LEDGER = ("delivery_queue", "deliveries", "delivery_payloads", "delivery_attempts")
_GENERIC = "force_generic_plan"

_TENANTS = f"""
INSERT INTO accounts (slug, name) VALUES ('a', 'a');
INSERT INTO brands (account_id, slug, name, opt_in_mode)
SELECT 1, 'b' || n, 'b', 'single' FROM generate_series(1, 200) AS n;
INSERT INTO webhook_endpoints (account_id, brand_id, url, secret_sealed, event_types)
SELECT 1, 1 + n % 200, 'https://receiver.example/', 'sealed', ARRAY['{TYPE}'] FROM generate_series(1, {_ENDPOINTS}) AS n;
INSERT INTO webhook_replays (endpoint_id, rate_per_second, total, through_sequence) VALUES (3, 10, 1000, 1000000);
INSERT INTO webhook_endpoint_sequences (endpoint_id, last) SELECT id, 1000000 FROM webhook_endpoints;
UPDATE webhook_endpoints SET state = 'paused' WHERE id = 4;
UPDATE webhook_endpoints SET state_changed_at = now() - interval '9 days' WHERE id = 4;
UPDATE webhook_endpoints SET discard_through = 1 WHERE id = 5;
"""

# Three months of deliveries: a third of them still waits, for one endpoint as many as for all others.
_WORK = f"""
INSERT INTO deliveries (occurred_at, event_id, endpoint_id, brand_id, sequence, type, state)
SELECT
    now() - make_interval(days => n % 60), gen_random_uuid(),
    CASE WHEN n % 2 = 0 THEN {_CROWDED} ELSE 1 + n % {_ENDPOINTS} END,
    1, n, '{TYPE}', CASE WHEN n % 3 = 0 THEN 'pending' ELSE 'delivered' END
FROM generate_series(1, 240000) AS n;
INSERT INTO delivery_payloads (event_id, profile, occurred_at, brand_id, type, body)
SELECT d.event_id, 'mailement', d.occurred_at, 1, d.type, '{{}}' FROM deliveries AS d WHERE d.sequence % 2 = 1
ON CONFLICT DO NOTHING;
INSERT INTO delivery_queue (delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence, due_at)
SELECT
    d.id, d.occurred_at, d.event_id, d.endpoint_id, 1, d.sequence,
    now() + CASE WHEN d.sequence % 9 = 0 THEN interval '1 day' ELSE interval '0' END
FROM deliveries AS d WHERE d.state = 'pending'
ON CONFLICT DO NOTHING;
UPDATE delivery_queue SET
    lease_token = gen_random_uuid(), leased_at = now(), attempts = 1, due_at = now() - interval '1 s'
WHERE delivery_id % 997 = 0;
"""


@dataclass(slots=True)
class _Overheard:
    """In place of a connection: keeps the statements and carries none out."""

    said: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        self.said.append((query, arguments))
        return []

    async def execute(self, query: str, *arguments: Any) -> str:
        self.said.append((query, arguments))
        return ""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        return nullcontext()


async def _hot_statements(connection: Any) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Each statement with arguments as a busy dispatcher would give it."""
    many = [Turn(endpoint_id=EndpointId(1 + 7 * n), room=2, replay_room=1) for n in range(50)]
    crowded = [Turn(endpoint_id=_CROWDED, room=100, replay_room=25)]
    leased = (await claim_deliveries(connection, crowded, lease_seconds=60, order_seconds=600)).deliveries
    results = [
        failed(each, again_in=5) if at % 2 else delivered(each, request_head="POST")
        for at, each in enumerate(leased)
    ]
    overheard = _Overheard()
    ear: Any = overheard
    await claim_deliveries(ear, many, lease_seconds=60, order_seconds=600)
    await claim_deliveries(ear, crowded, lease_seconds=60, order_seconds=600)
    await record_attempts(ear, results)
    await release_deliveries(ear, leased)
    await record_events(ear, [_event(1 + n) for n in range(20)])
    await reopen_expired(ear, limit=100)
    await find_due(ear, shards=ALL_SHARDS, after=EndpointId(300), limit=100)
    await leased_elsewhere(ear, ALL_SHARDS[:8])
    await load_endpoints(ear, [EndpointId(n) for n in range(100, 200)])
    await advance_replays(ear, shards=ALL_SHARDS, seconds=1)
    await discard_marked(ear, 100)
    await expire_held(ear, 7, 100)
    await discard(ear, {DeliveryId(n): Reason.DRAINED for n in range(1, 101)})
    names = (
        "claim for many",
        "claim for one",
        "record",
        "release",
        "ingest",
        "reopen",
        "find due",
        "leased elsewhere",
        "load",
        "withdraw",
        "advance",
        "marked",
        "unmark",
        "overdue",
        "discard",
    )
    return dict(zip(names, overheard.said, strict=True))


def _event(brand: int) -> WebhookEvent:
    return WebhookEvent(
        id=EventId(uuid4()),
        profile=Profile.MAILEMENT,
        brand_id=BrandId(brand),
        type=TYPE,
        body=b"{}",
        occurred_at=datetime.now(UTC),  # noqa: TID251
        order_key=7,
    )


async def _explain(connection: Any, query: str, arguments: Sequence[Any], *, mode: str) -> dict[str, Any]:
    """Runs it, planned for these arguments or for any, and undoes what it did."""
    statement = await connection.prepare(query)
    return await _explain_prepared(connection, statement.get_name(), arguments, mode=mode)


async def _explain_prepared(
    connection: Any, name: str, arguments: Sequence[Any], *, mode: str
) -> dict[str, Any]:
    given = await connection.fetchval(
        "SELECT string_agg(quote_nullable(x), ', ' ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY AS u (x, n)",
        [_literal(argument) for argument in arguments],
    )
    call = f"{name}({given})" if arguments else name
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    found = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {call}")
    await transaction.rollback()
    plan: dict[str, Any] = orjson.loads(found)[0]["Plan"]
    return plan


def _literal(argument: Any) -> str:
    if isinstance(argument, (list, tuple)):
        return "{" + ",".join("NULL" if each is None else f'"{_element(each)}"' for each in argument) + "}"
    return _element(argument)


def _element(value: Any) -> str:
    text = f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
    return text.replace("\\", "\\\\").replace("\r\n", " ")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _read_as_a_whole(plan: dict[str, Any]) -> set[str]:
    """The ledger's tables that were scanned from end to end: in sequence, or by an index without a condition."""
    return {
        node["Relation Name"]
        for node in _nodes(plan)
        if node.get("Relation Name", "").startswith(_LEDGER)
        and node["Node Type"].endswith("Scan")
        and node["Node Type"] not in {"Bitmap Heap Scan", "Bitmap Index Scan"}
        and not {"Index Cond", "TID Cond"} & node.keys()
        # What is leased or replayed is never much, and has an index of its own.
        and node.get("Index Name") not in {"delivery_queue_leased_idx", "delivery_queue_replay_id_idx"}
        and node.get("Actual Loops", 1)
    }


def _pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _ready(database: Database, *statements: str) -> None:
    async with database.pool.acquire() as connection:
        for statement in statements:
            await connection.execute(statement)


async def _make_months(database: Database) -> None:
    """Two months ago and last month, as they stand in a ledger that has been at work for some time."""
    await _ready(
        database,
        "INSERT INTO deliveries (occurred_at, event_id, endpoint_id, brand_id, sequence, type) "
        "SELECT now() - make_interval(days => n * 30), gen_random_uuid(), 1, 1, 0, 't' FROM generate_series(1, 2) AS n",
        "INSERT INTO delivery_payloads (occurred_at, event_id, profile, brand_id, type) "
        "SELECT now() - make_interval(days => n * 30), gen_random_uuid(), 'none', 1, 't' FROM generate_series(1, 2) AS n",
    )
    async with database.pool.acquire() as connection:
        await tend_ledger(connection, ledger_days=400, payload_days=400)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """As a dispatcher has them."""
    opened = await connect(DatabaseSettings(database_url=database.url), name="test", server_settings=BY_INDEX)
    yield opened
    await opened.close()


@pytest.mark.parametrize("mode", ["force_custom_plan", _GENERIC])
async def test_no_statement_reads_the_ledger_as_a_whole(
    database: Database, connection: asyncpg.Connection, mode: str
) -> None:
    await _make_months(database)
    await _ready(database, _TENANTS, _WORK, "VACUUM ANALYZE")

    for name, (query, arguments) in (await _hot_statements(connection)).items():
        plan = await _explain(connection, query, arguments, mode=mode)
        assert _read_as_a_whole(plan) == set(), name
        assert _pages(plan) < 5_000, name


@pytest.mark.parametrize(
    "before", [[], [_WORK, "DELETE FROM delivery_queue", "VACUUM ANALYZE delivery_queue"]]
)
async def test_a_plan_that_was_made_when_nothing_waited_serves_when_much_does(
    database: Database, connection: asyncpg.Connection, before: list[str]
) -> None:
    await _make_months(database)
    await _ready(database, _TENANTS, *before)
    planned = {}
    for name, (query, arguments) in (await _hot_statements(connection)).items():
        planned[name] = await connection.prepare(query)
        await _explain_prepared(connection, planned[name].get_name(), arguments, mode=_GENERIC)

    await _ready(database, _WORK)

    for name, (_, arguments) in (await _hot_statements(connection)).items():
        plan = await _explain_prepared(connection, planned[name].get_name(), arguments, mode=_GENERIC)
        assert _read_as_a_whole(plan) == set(), name
        assert _pages(plan) < 5_000, name


async def test_a_claim_reads_little_more_than_it_takes(database: Database) -> None:
    await _make_months(database)
    await _ready(database, _TENANTS, _WORK, "VACUUM ANALYZE")

    async with database.pool.acquire() as connection:
        statements = await _hot_statements(connection)
        for name, most in (("claim for many", 100), ("claim for one", 100)):
            query, arguments = statements[name]
            plan = await _explain(connection, query, arguments, mode=_GENERIC)
            assert 0 < plan["Actual Rows"] <= most
            assert _pages(plan) < 40 * plan["Actual Rows"]
            assert _read_as_a_whole(plan) == set()
