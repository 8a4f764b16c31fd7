"""Readiness checks on the database."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from mailement_common.db.migrate import missing_migrations, read_migrations
from mailement_common.health import Check, CheckResult


def database_checks(pool: asyncpg.Pool, migrations: Path) -> dict[str, Check]:
    """`database`: it answers. `schema`: it has every migration of this build."""
    expected = read_migrations(migrations)

    async def answers() -> CheckResult:
        await pool.fetchval("SELECT 1")
        return CheckResult(ok=True)

    async def schema() -> CheckResult:
        missing = await missing_migrations(pool, expected)
        if missing:
            return CheckResult(ok=False, detail=f"{len(missing)} migrations missing: run `mailement migrate`")
        return CheckResult(ok=True)

    return {"database": Check(run=answers), "schema": Check(run=schema)}
