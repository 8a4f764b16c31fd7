"""`make bench-drips`: due steps per second of one scheduler process, and what a step costs as the number of runs grows.

For each number of active runs a database of its own, a thousand drips, and the real scheduler as a process, which finds
everything due at one moment. In turns with it, within the same run, one single statement does as many steps at once: no process can
be much faster than that. Each step writes its mail into the ledger. The clock starts when the first batch is committed and
stops when the last one is; CPU is the server's, with its writers and checkpoints, from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import orjson

from bench.drips.crowd import gather_crowd, make_due
from bench.webhooks.costs import Costs, new_meter
from bench.webhooks.stage import OUT, Stage, private_servers, running_service, set_stage
from mailement_cli.local.servers import LocalServers
from mailement_common.db.pool import PLANNED_EACH_TIME, connect
from mailement_common.settings import DatabaseSettings
from mailement_newsletter.usecases.advance_drips import ALL_DRIPS, SQL

_BATCH: Final = 1000
_LEAD: Final = timedelta(seconds=4)
_TICKS: Final = 50
_DEADLINE_SECONDS: Final = 300.0
_SELF: Final = os.getpid()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Steps per second, and the server's CPU in microseconds for each."""

    per_second: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """`pages` of one claim of a thousand, `idle_pages` and `idle_ms` of a tick that finds nothing due.

    `held`: the same while somebody holds an old snapshot; `held_idle_ms` with the floor that the scheduler then keeps.
    """

    runs: int
    scheduler: Round
    one_statement: Round
    held: Round
    pages: float
    idle_pages: int
    idle_ms: float
    held_idle_ms: float


class Ground:
    """One database with its crowd."""

    def __init__(self, connection: asyncpg.Connection, stage: Stage, steps: int) -> None:
        self.connection = connection
        self.stage = stage
        self.steps = steps
        self._used = 0

    async def tidy(self) -> None:
        for table in ("drip_enrollments", "messages", "outbox", "drip_tallies"):
            await self.connection.execute(f"VACUUM ANALYZE {table}")
        await self.connection.execute("CHECKPOINT")

    async def now(self) -> datetime:
        moment: datetime = await self.connection.fetchval("SELECT clock_timestamp()")
        return moment

    async def stage_steps(self, moment: datetime) -> None:
        """Runs that no round has used yet; about a tenth of all ids belong to paused drips."""
        await make_due(self.connection, self.steps, moment, after_id=self._used)
        self._used += int(self.steps * 1.2)

    async def done(self) -> int:
        count: int = await self.connection.fetchval(
            "SELECT coalesce(sum(n), 0)::bigint FROM drip_tallies WHERE what = 'ran'"
        )
        return count


async def by_the_scheduler(ground: Ground) -> Round:
    """The process is up and idle; then everything is due at once."""
    await ground.stage_steps(await ground.now() + _LEAD + timedelta(seconds=ground.steps / 100_000))
    await ground.tidy()
    before = await ground.done()
    with running_service(ground.stage, "drip-scheduler", MAILEMENT_DRIP_BATCH=str(_BATCH)) as process:
        meter = await new_meter(ground.connection, counts_statements=False)
        idle = await meter.read(process.pid)
        started, first = 0.0, 0
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while (done := await ground.done() - before) < ground.steps:
            if not started and done:
                started, first = time.perf_counter(), done
            if not started:
                idle = await meter.read(process.pid)
            if time.monotonic() > deadline:
                sys.exit(f"bench: {done} of {ground.steps} steps within {_DEADLINE_SECONDS:.0f} s")
            await asyncio.sleep(0.02)
        seconds = time.perf_counter() - started
        return _round(ground.steps - first, seconds, ground.steps, idle, await meter.read(process.pid))


async def by_one_statement(ground: Ground) -> Round:
    moment = await ground.now()
    await ground.stage_steps(moment)
    await ground.tidy()
    meter = await new_meter(ground.connection, counts_statements=False)
    worker = await connect(DatabaseSettings(database_url=ground.stage.database_url), name="bench")
    before = await meter.read(_SELF)
    started = time.perf_counter()
    row = await worker.fetchrow(SQL["advance"], moment, 0, ground.steps * 2, [], [], None, None, *ALL_DRIPS)
    seconds = time.perf_counter() - started
    after = await meter.read(_SELF)
    await worker.close()
    assert row is not None
    return _round(row["due"], seconds, row["due"], before, after)


@asynccontextmanager
async def old_snapshot(stage: Stage) -> AsyncIterator[None]:
    """Somebody's long transaction: no dead row that it could still see may be removed."""
    connection = await asyncpg.connect(stage.database_url)
    async with connection.transaction(isolation="repeatable_read"):
        await connection.fetchval("SELECT count(*) FROM drips")
        yield
    await connection.close()


async def idle_tick(ground: Ground, floors: dict[int, datetime]) -> float:
    """Milliseconds, the median; as the scheduler does it each second: nothing is due."""
    moment = await ground.now()
    taken = []
    for _ in range(_TICKS):
        started = time.perf_counter()
        row = await ground.connection.fetchrow(
            SQL["advance"], moment, 0, _BATCH, list(floors), list(floors.values()), None, None, *ALL_DRIPS
        )
        assert row is not None
        assert row["due"] == 0, row["due"]
        await ground.connection.fetchval(SQL["next_due"], list(floors), list(floors.values()), *ALL_DRIPS)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


async def pages(ground: Ground) -> tuple[int, int]:
    """Rows taken, and pages read or written, of one claim that is undone."""
    transaction = ground.connection.transaction()
    await transaction.start()
    explained = await ground.connection.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {SQL['advance']}",
        await ground.now(),
        0,
        _BATCH,
        [],
        [],
        None,
        None,
        *ALL_DRIPS,
    )
    taken = await ground.connection.fetchval(
        "SELECT count(*) FROM messages WHERE created_at > now() - interval '0'"
    )
    await transaction.rollback()
    plan: Any = orjson.loads(explained)[0]["Plan"]
    return int(taken), int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def enlarge(servers: LocalServers) -> None:
    """To what a server of that many runs has; a laptop's 256 MB would measure the page cache."""
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute("ALTER SYSTEM SET shared_buffers = '2GB'")
    await connection.close()
    servers.database.restart()


async def measure(servers: LocalServers, runs: int, steps: int, rounds: int) -> Figures:
    stage = await set_stage(servers, f"drips-{runs}")
    connection = await connect(DatabaseSettings(database_url=stage.database_url), name="bench crowd")
    # As the scheduler's own sessions.
    for setting, value in PLANNED_EACH_TIME.items():
        await connection.execute(f"SET {setting} = {value}")
    print(f"gathering {runs:,} runs …", flush=True)
    quiet = await connection.fetchval("SELECT now() + interval '1 day'")
    await gather_crowd(connection, runs, quiet)
    ground = Ground(connection, stage, min(steps, runs // (4 * (rounds + 1))))
    await ground.tidy()
    idle_ms, (_, idle_pages) = await idle_tick(ground, {}), await pages(ground)
    await ground.stage_steps(await ground.now())
    await ground.tidy()
    _, claim_pages = await pages(ground)
    await connection.execute(
        "UPDATE drip_enrollments SET next_run_at = $1 WHERE state = 'active' AND next_run_at <= now() AND drip_id > 100",
        quiet,
    )
    scheduler, single = [], []
    for number in range(rounds):
        scheduler.append(await by_the_scheduler(ground))
        single.append(await by_one_statement(ground))
        print(
            f"  round {number + 1}: {scheduler[-1].per_second:,.0f}/s, one statement {single[-1].per_second:,.0f}/s",
            flush=True,
        )
    async with old_snapshot(stage):
        held = await by_the_scheduler(ground)
        floors = dict.fromkeys(range(1, 1001), await ground.now() - timedelta(seconds=2))
        held_idle_ms = await idle_tick(ground, floors)
    await connection.close()
    return Figures(
        runs=runs,
        scheduler=_middle(scheduler),
        one_statement=_middle(single),
        held=held,
        pages=claim_pages / min(_BATCH, ground.steps),
        idle_pages=idle_pages,
        idle_ms=idle_ms,
        held_idle_ms=held_idle_ms,
    )


def _round(counted: int, seconds: float, steps: int, before: Costs, after: Costs) -> Round:
    return Round(
        per_second=counted / seconds, cpu=(after.database_cpu - before.database_cpu) / steps * 1_000_000
    )


def _middle(rounds: Sequence[Round]) -> Round:
    return Round(
        per_second=statistics.median(each.per_second for each in rounds),
        cpu=statistics.median(each.cpu for each in rounds),
    )


def report(figures: Sequence[Figures]) -> None:
    print(
        f"\n{'active runs':>12}{'steps/s':>10}{'one stmt':>10}{'ratio':>7}{'CPU µs':>8}{'held/s':>9}{'CPU µs':>8}",
        end="",
    )
    print(f"{'pages/step':>12}{'idle pages':>12}{'idle ms':>9}{'held':>7}")
    for each in figures:
        print(
            f"{each.runs:12,}{each.scheduler.per_second:10,.0f}{each.one_statement.per_second:10,.0f}"
            f"{each.scheduler.per_second / each.one_statement.per_second:7.2f}{each.scheduler.cpu:8.0f}"
            f"{each.held.per_second:9,.0f}{each.held.cpu:8.0f}{each.pages:12.1f}{each.idle_pages:12,}"
            f"{each.idle_ms:9.1f}{each.held_idle_ms:7.1f}"
        )
    by_runs = {each.runs: each for each in figures}
    if {1_000_000, 10_000_000} <= by_runs.keys():
        grown = by_runs[10_000_000].scheduler.cpu / by_runs[1_000_000].scheduler.cpu
        print(f"\na step at ten million costs {grown:.2f} × the CPU of one at a million (at most 1.25)")
    (OUT / "drips.json").write_text(
        json.dumps([asdict(each) for each in figures], indent=2), encoding="utf-8"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--ten-million", action="store_true", help="10,000,000 runs as well; some 12 GB of disk"
    )
    parser.add_argument(
        "--steps", type=int, default=60_000, help="due in each round, at most; fewer where there are few runs"
    )
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    sizes = [*wanted.runs, *([10_000_000] if wanted.ten_million else [])]
    with private_servers() as servers:
        asyncio.run(enlarge(servers))
        figures = [asyncio.run(measure(servers, runs, wanted.steps, wanted.rounds)) for runs in sizes]
    report(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
