"""`make bench-claim`: how long a claim takes when a million deliveries wait for ten thousand endpoints.

Two kinds of claim, as the dispatcher makes them: for a hundred endpoints at once, as when everything is due, and for the one
endpoint that has tens of thousands waiting. What is claimed is given back or recorded outside the clock, so that the queue
keeps its size and gets its dead rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import orjson

from mailement_cli.commands.migrate import migrate_database
from mailement_cli.local.postgres import PrivatePostgres
from mailement_common.db.pool import new_pool
from mailement_common.settings import DatabaseSettings
from mailement_webhooks.database import BY_INDEX
from mailement_webhooks.deliveries import AttemptOutcome, Phases, Reason
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.claim_deliveries import (
    SQL,
    LeasedDelivery,
    Turn,
    claim_deliveries,
    release_deliveries,
)
from mailement_webhooks.usecases.record_attempts import AttemptResult, record_attempts

ROOT = Path(__file__).parent.parent.parent
CROWDED = EndpointId(7)
LEASE_SECONDS = 15.0
ORDER_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Milliseconds; `rows` and `buffers` are those of one claim on average."""

    p50: float
    p99: float
    longest: float
    rows: float
    buffers: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--crowded", type=int, default=60_000, help="pending for one of the endpoints")
    parser.add_argument("--seconds", type=float, default=8, help="for each kind of claim")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailement-bench-") as folder:
        Path(folder).chmod(0o711)
        server = PrivatePostgres(Path(folder) / "postgres", durable=True, environ=os.environ)  # noqa: TID251
        server.start()
        try:
            figures = asyncio.run(measure(server.url, wanted))
        finally:
            server.discard()
    report(wanted, figures)
    return 0


async def measure(url: str, wanted: argparse.Namespace) -> dict[str, Figure]:
    settings = DatabaseSettings(database_url=url)
    await migrate_database(settings)
    pool = await new_pool(settings, name="bench", size=4, server_settings=BY_INDEX)
    async with pool.acquire() as connection:
        await fill(connection, wanted)
    kinds: dict[str, Callable[[], Sequence[Turn]]] = {
        "100 endpoints, room for 1": lambda: turns(wanted, endpoints=100, room=1),
        "10 endpoints, room for 10": lambda: turns(wanted, endpoints=10, room=10),
        "the crowded one, room for 100": lambda: [Turn(endpoint_id=CROWDED, room=100, replay_room=25)],
    }
    figures = {name: await rounds(pool, wanted.seconds, make) for name, make in kinds.items()}
    await pool.close()
    return figures


async def fill(
    connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy, wanted: argparse.Namespace
) -> None:
    """What waits, with its payloads and its rows in the ledger; a tenth of it is not due yet."""
    spread = wanted.pending - wanted.crowded
    await connection.execute(
        f"""
        SET statement_timeout = 0;
        SET synchronous_commit = off;
        INSERT INTO accounts (slug, name) VALUES ('a', 'a');
        INSERT INTO brands (account_id, slug, name, opt_in_mode)
        SELECT 1, 'b' || n, 'b', 'single' FROM generate_series(1, 1000) AS n;
        INSERT INTO webhook_endpoints (account_id, brand_id, url, secret_sealed, event_types)
        SELECT 1, 1 + n % 1000, 'https://receiver.example/', 'sealed', ARRAY['subscriber.confirmed']
        FROM generate_series(0, {wanted.endpoints} - 1) AS n;
        INSERT INTO delivery_queue (delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence, due_at)
        SELECT
            n, now(), gen_random_uuid(),
            CASE WHEN n <= {spread} THEN 1 + n % {wanted.endpoints} ELSE {CROWDED} END,
            1, n, now() + CASE WHEN n % 10 = 0 THEN interval '1 day' ELSE interval '0' END
        FROM generate_series(1, {wanted.pending}) AS n;
        INSERT INTO delivery_payloads (event_id, profile, occurred_at, brand_id, type, body)
        SELECT q.event_id, 'mailement', q.occurred_at, 1, 'subscriber.confirmed', convert_to(repeat('x', 500), 'UTF8')
        FROM delivery_queue AS q ORDER BY q.event_id;
        INSERT INTO deliveries (id, occurred_at, event_id, endpoint_id, brand_id, sequence, type)
        SELECT q.delivery_id, q.occurred_at, q.event_id, q.endpoint_id, 1, q.sequence, 'subscriber.confirmed'
        FROM delivery_queue AS q ORDER BY q.delivery_id;
        """
    )
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.execute("RESET statement_timeout")


def turns(wanted: argparse.Namespace, *, endpoints: int, room: int) -> list[Turn]:
    return [
        Turn(endpoint_id=EndpointId(number), room=room, replay_room=room // 4)
        for number in random.sample(range(1, wanted.endpoints + 1), endpoints)
    ]


async def rounds(pool: asyncpg.Pool, seconds: float, make: Callable[[], Sequence[Turn]]) -> Figure:
    taken: list[float] = []
    rows = 0
    async with pool.acquire() as connection:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(taken) < 200:
            wanted = make()
            began = time.perf_counter()
            claim = await claim_deliveries(
                connection, wanted, lease_seconds=LEASE_SECONDS, order_seconds=ORDER_SECONDS
            )
            taken.append((time.perf_counter() - began) * 1000)
            rows += len(claim.deliveries)
            await give_back(pool, claim.deliveries)
        buffers = await touched(connection, make())
    taken.sort()
    return Figure(
        p50=taken[len(taken) // 2],
        p99=taken[int(len(taken) * 0.99)],
        longest=taken[-1],
        rows=rows / len(taken),
        buffers=buffers,
    )


async def give_back(pool: asyncpg.Pool, deliveries: Sequence[LeasedDelivery]) -> None:
    """A half is released, the other failed and is due again at once."""
    half = len(deliveries) // 2
    await release_deliveries(pool, deliveries[:half])
    await record_attempts(pool, [failure(delivery) for delivery in deliveries[half:]])


def failure(delivery: LeasedDelivery) -> AttemptResult:
    return AttemptResult(
        delivery_id=delivery.id,
        lease_token=delivery.lease_token,
        outcome=AttemptOutcome.FAILED,
        reason=Reason.HTTP_5XX,
        detail=None,
        status_code=500,
        request_head=None,
        response_head=None,
        response_body=None,
        started_at=datetime.now(UTC),  # noqa: TID251  only stored
        duration_ms=1,
        phases=Phases(),
        tries=1,
        refusals=0,
        next_attempt_in=0.0,
    )


async def touched(
    connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record], wanted: Sequence[Turn]
) -> int:
    """The pages that one claim reads or writes; the claim is undone."""
    transaction = connection.transaction()
    await transaction.start()
    explained = await connection.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {SQL['claim']}",
        [turn.endpoint_id for turn in wanted],
        [turn.room for turn in wanted],
        [turn.replay_room for turn in wanted],
        "00000000-0000-0000-0000-000000000001",
        LEASE_SECONDS,
        ORDER_SECONDS,
    )
    await transaction.rollback()
    plan = orjson.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def report(wanted: argparse.Namespace, figures: dict[str, Figure]) -> None:
    print(
        f"\nclaims among {wanted.pending:,} pending deliveries of {wanted.endpoints:,} endpoints, "
        f"one of them with {wanted.crowded:,}"
    )
    print(f"{'':32}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'rows':>8}{'buffers':>9}")
    for name, figure in figures.items():
        print(
            f"{name:32}{figure.p50:9.2f}{figure.p99:9.2f}{figure.longest:9.2f}{figure.rows:8.0f}{figure.buffers:9.0f}"
        )
    out = ROOT / "bench" / "out" / "claim.json"
    figures_by_name = {
        name: {"p50_ms": figure.p50, "p99_ms": figure.p99, "rows": figure.rows}
        for name, figure in figures.items()
    }
    out.write_text(json.dumps(figures_by_name, indent=2), encoding="utf-8")


if __name__ == "__main__":
    (ROOT / "bench" / "out").mkdir(exist_ok=True)
    sys.exit(main())
