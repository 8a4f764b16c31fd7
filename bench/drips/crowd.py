"""Drips with as many runs as a bench asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

_DRIPS = 1_000
# Paused ones hold overdue runs: whatever looks for due steps must not walk over them.
_PAUSED = 100
_OVERDUE_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """`runs` active runs in a thousand drips of ten brands, a tenth of them overdue in paused drips.

    None of a live drip is due before `quiet_until`.
    """

    runs: int
    quiet_until: datetime


async def gather_crowd(connection: asyncpg.Connection, runs: int, quiet_until: datetime) -> Crowd:
    await connection.execute("SET synchronous_commit = off")
    await connection.execute("SET maintenance_work_mem = '1GB'")
    await connection.execute(_TENANTS)
    await connection.execute(_STEPS)
    indexes = await _without_indexes(connection)
    await connection.execute(_SUBSCRIBERS.format(runs=runs))
    await connection.execute(
        _RUNS.format(
            runs=runs, drips=_DRIPS, paused=_PAUSED, overdue=_OVERDUE_SHARE, quiet=quiet_until.isoformat()
        )
    )
    for index in indexes:
        await connection.execute(index)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    return Crowd(runs=runs, quiet_until=quiet_until)


async def make_due(connection: asyncpg.Connection, runs: int, moment: datetime, *, after_id: int) -> None:
    """So many runs of live drips, spread over all of them, are due at `moment`."""
    await connection.execute(
        """
        UPDATE drip_enrollments SET next_run_at = $2
        WHERE id IN (
            SELECT e.id FROM drip_enrollments AS e
            WHERE e.id > $3 AND e.drip_id > $4 AND e.state = 'active' ORDER BY e.id LIMIT $1
        )
        """,
        runs,
        moment,
        after_id,
        _PAUSED,
    )


async def _without_indexes(connection: asyncpg.Connection) -> list[str]:
    """Drops those that can be made in one go when the rows are there; answers with how to make them."""
    rows = await connection.fetch(
        """
        SELECT i.indexname, i.indexdef FROM pg_indexes AS i
        WHERE i.schemaname = 'public' AND i.tablename IN ('drip_enrollments', 'subscribers')
        AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conname = i.indexname)
        """
    )
    for row in rows:
        await connection.execute(f"DROP INDEX {row['indexname']}")
    return [row["indexdef"] for row in rows]


_TENANTS = f"""
INSERT INTO accounts (slug, name) VALUES ('bench', 'Bench');
INSERT INTO brands (account_id, slug, name, opt_in_mode)
SELECT 1, 'brand-' || n, 'Brand ' || n, 'single' FROM generate_series(1, 10) AS n;
INSERT INTO drips (brand_id, name, state, trigger)
SELECT 1 + n % 10, 'drip ' || n, CASE WHEN n <= {_PAUSED} THEN 'paused' ELSE 'live' END, 'manual'
FROM generate_series(1, {_DRIPS}) AS n;
"""

_STEPS = f"""
INSERT INTO drip_steps (drip_id, position, delay, subject, body_text)
SELECT d, p * 1024, interval '3 days', 'Step ' || p, 'Hello.'
FROM generate_series(1, {_DRIPS}) AS d CROSS JOIN generate_series(1, 5) AS p;
"""

_SUBSCRIBERS = """
INSERT INTO subscribers (brand_id, email, email_key, first_name, status, confirmed_at)
SELECT 1 + n % 10, 'reader' || n || '@example.com', 'reader' || n || '@example.com', 'Reader', 'confirmed', now()
FROM generate_series(1, {runs}) AS n
"""

_RUNS = """
INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, anchor_at, next_run_at, enrolled_at, cursor_pos)
SELECT
    d.id, 1 + n % 10, n, now() - interval '1 day',
    CASE
        WHEN d.id <= {paused} THEN now() - random() * interval '30 days'
        ELSE '{quiet}'::timestamptz + random() * interval '30 days'
    END,
    now() - interval '1 day', 1024 * (n % 3)
FROM generate_series(1, {runs}) AS n
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN n % 10 = 0 THEN 1 + (n / 10) % {paused}
            ELSE {paused} + 1 + (n % ({drips} - {paused}))
        END AS id
) AS d
"""
