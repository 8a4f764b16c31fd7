"""`make bench-webhooks`: deliveries per second with the full ledger, beside the same POSTs sent with nothing behind them.

A backlog waits in PostgreSQL; one dispatcher process, as `mailement run webhook-dispatcher` starts it, sends it to one receiver and
writes every attempt down. Beside each such round a bare aiohttp loop, the dispatcher's own client alone, and wrk send the very
same request to the same receiver, with as many at once. All take turns within one run on the same machine, so that the ratio
means something; the figures by themselves do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg

from bench.webhooks.costs import Costs, Meter, load_statement_counter, new_meter
from bench.webhooks.stage import (
    HERE,
    OUT,
    ROOT,
    Stage,
    Tenant,
    ask,
    make_tenants,
    private_servers,
    running_receiver,
    running_service,
    set_stage,
    until,
)
from mailement_cli.local.servers import LocalServers
from mailement_common.clock import SystemClock
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import EventId, traceparent
from mailement_common.settings import DatabaseSettings
from mailement_webhooks.rules.payload import body_for
from mailement_webhooks.usecases.record_events import WebhookEvent, record_events

_BATCH = 500
_WARM_UP = 1_000
_DRAIN_SECONDS = 300.0

OURS = "dispatcher, full ledger"
AIOHTTP = "aiohttp loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`at_once`: what the dispatcher's settings allow for so many endpoints, and what the others get."""

    endpoints: int
    at_once: int

    @property
    def name(self) -> str:
        return f"{self.endpoints} endpoint{'s' if self.endpoints > 1 else ''}, {self.at_once} at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Of one round; CPU in microseconds per POST. None: not measured."""

    per_second: float
    sender_us: float | None = None
    database_us: float | None = None
    statements_per_thousand: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    stage: Stage
    connection: asyncpg.Connection
    meter: Meter
    receiver: str
    tenants: Sequence[Tenant]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--endpoints", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=100, help="POSTs under way at once")
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    cases = [
        Case(endpoints=wanted.endpoints, at_once=wanted.at_once),
        # An endpoint's own share of the slots, as the settings have it.
        Case(endpoints=1, at_once=10),
    ]
    with private_servers() as servers, running_receiver() as receiver:
        figures = asyncio.run(measure(servers, receiver, cases, wanted))
    report(wanted, figures)
    return 0


Figures = dict[Case, dict[str, list[Figure]]]


async def measure(
    servers: LocalServers, receiver: str, cases: Sequence[Case], wanted: argparse.Namespace
) -> Figures:
    counts = await load_statement_counter(servers, DatabaseSettings(database_url=servers.database_url))
    stage = await set_stage(servers, "drain")
    connection = await asyncpg.connect(stage.database_url)
    urls = [f"{receiver}/hook"] * max(case.endpoints for case in cases)
    bench = Bench(
        stage=stage,
        connection=connection,
        meter=await new_meter(connection, counts_statements=counts),
        receiver=receiver,
        tenants=await make_tenants(connection, stage, urls),
    )
    try:
        await drain(bench, cases[0], _WARM_UP)
        (OUT / "request").write_bytes(ask(f"{receiver}/sample"))
        return {case: await take_turns(bench, case, wanted.events, wanted.rounds) for case in cases}
    finally:
        await connection.close()


async def take_turns(bench: Bench, case: Case, events: int, rounds: int) -> dict[str, list[Figure]]:
    found: dict[str, list[Figure]] = {OURS: [], AIOHTTP: [], "its own client, bare": [], "wrk": []}
    for _ in range(rounds):
        found[AIOHTTP].append(bare_loop("aiohttp", bench.receiver, case, events))
        found[OURS].append(await drain(bench, case, events))
        found["its own client, bare"].append(bare_loop("ours", bench.receiver, case, events))
        found["wrk"].append(wrk(bench.receiver, case))
    return found


async def drain(bench: Bench, case: Case, events: int) -> Figure:
    """From the first POST to the moment when the last one stands in the ledger."""
    await fill(bench, case, events)
    already = received(bench)
    with running_service(
        bench.stage, "webhook-dispatcher", MAILEMENT_WEBHOOK_CONCURRENCY=str(case.at_once)
    ) as dispatcher:
        until(lambda: received(bench) > already, seconds=_DRAIN_SECONDS, what="the first delivery")
        begun, costs_begun = time.perf_counter(), await bench.meter.read(dispatcher.pid)
        sent_before = received(bench) - already
        until(lambda: received(bench) >= already + events, seconds=_DRAIN_SECONDS, what="the last delivery")
        await until_recorded(bench.connection)
        seconds, costs = time.perf_counter() - begun, await bench.meter.read(dispatcher.pid)
    if (copies := received(bench) - already - events) > 0:
        print(f"bench: {copies} of {events} deliveries came twice", file=sys.stderr)
    return figure(events - sent_before, seconds, costs_begun, costs)


def figure(posts: int, seconds: float, before: Costs, after: Costs) -> Figure:
    statements = None
    if before.statements is not None and after.statements is not None:
        statements = (after.statements - before.statements) / posts * 1000
    return Figure(
        per_second=posts / seconds,
        sender_us=(after.sender_cpu - before.sender_cpu) / posts * 1e6,
        database_us=(after.database_cpu - before.database_cpu) / posts * 1e6,
        statements_per_thousand=statements,
    )


async def fill(bench: Bench, case: Case, count: int) -> None:
    """So many events, each for one endpoint of the case in turns; what that wrote is on disk when it returns."""
    events = [an_event(bench.tenants[number % case.endpoints], number) for number in range(count)]
    for start in range(0, count, _BATCH):
        async with bench.connection.transaction():
            await record_events(bench.connection, events[start : start + _BATCH])
    await bench.connection.execute("CHECKPOINT")


def an_event(tenant: Tenant, number: int) -> WebhookEvent:
    happened = SystemClock().now()
    envelope = Envelope(
        id=EventId(uuid4()),
        type=EventType.SUBSCRIBER_CONFIRMED,
        brand_id=tenant.brand.id,
        occurred_at=happened,
        data={"brand_slug": tenant.brand.slug, "subscriber": a_subscriber(number, happened)},
    )
    body = body_for(tenant.endpoint.profile, envelope)
    assert body is not None
    return WebhookEvent(
        id=envelope.id,
        profile=tenant.endpoint.profile,
        brand_id=tenant.brand.id,
        type=envelope.type,
        body=body,
        occurred_at=happened,
        order_key=number,
        about_endpoint=None,
        traceparent=traceparent(None),
    )


def a_subscriber(number: int, confirmed_at: datetime) -> dict[str, object]:
    return {
        "id": number,
        "email": f"reader{number}@example.com",
        "first_name": "Maria",
        "last_name": "Costa",
        "city": "Lisbon",
        "custom_fields": {"favorite_genre": "essays"},
        "status": "confirmed",
        "source": "api",
        "confirmed_at": confirmed_at.astimezone(UTC).isoformat(),
        "unsubscribed_at": None,
        "version": 1,
    }


def received(bench: Bench) -> int:
    return int(ask(f"{bench.receiver}/count"))


async def until_recorded(connection: asyncpg.Connection) -> None:
    deadline = time.monotonic() + _DRAIN_SECONDS
    while await connection.fetchval("SELECT EXISTS (SELECT FROM delivery_queue)"):
        if time.monotonic() > deadline:
            sys.exit("bench: the receiver has everything, and the ledger does not say so")
        await asyncio.sleep(0.005)


def bare_loop(client: str, receiver: str, case: Case, count: int) -> Figure:
    words = [sys.executable, "-m", "bench.webhooks.bare_loop", client, f"{receiver}/hook"]
    numbers = [str(count), str(case.at_once)]
    done = subprocess.run(
        [*words, str(OUT / "request"), *numbers], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    found = json.loads(done.stdout)
    return Figure(per_second=found["per_second"], sender_us=found["cpu_us"])


def wrk(receiver: str, case: Case) -> Figure:
    words = ["wrk", "-t1", f"-c{case.at_once}", "-d2s", "-s", str(HERE / "repeat.lua"), receiver]
    out = subprocess.run(
        [*words, "--", str(OUT / "request")], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if found is None or "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"bench: wrk was not served well:\n{out}")
    return Figure(per_second=float(found[1]))


def report(wanted: argparse.Namespace, figures: Figures) -> None:
    print(f"\n{wanted.events} events that wait, one receiver, medians of {wanted.rounds} rounds")
    print(
        f"{'':34}{'per second':>12}{'of aiohttp':>12}{'sender µs':>11}{'database µs':>13}{'SQL per 1,000':>15}"
    )
    result: dict[str, dict[str, dict[str, float | None]]] = {}
    for case, sides in figures.items():
        print(case.name)
        bare = statistics.median(figure.per_second for figure in sides[AIOHTTP])
        result[case.name] = {}
        for name, rounds in sides.items():
            line = medians(rounds) | {"of_aiohttp": None}
            line["of_aiohttp"] = (line["per_second"] or 0) / bare
            print(
                f"{'  ' + name:34}{shown(line['per_second'], 0):>12}{shown(line['of_aiohttp'], 2):>12}"
                f"{shown(line['sender_us'], 0):>11}{shown(line['database_us'], 0):>13}"
                f"{shown(line['statements_per_thousand'], 1):>15}"
            )
            result[case.name][name] = line
    (OUT / "webhooks.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def medians(rounds: Sequence[Figure]) -> dict[str, float | None]:
    def middle(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    return {
        "per_second": middle([figure.per_second for figure in rounds]),
        "sender_us": middle([figure.sender_us for figure in rounds]),
        "database_us": middle([figure.database_us for figure in rounds]),
        "statements_per_thousand": middle([figure.statements_per_thousand for figure in rounds]),
    }


def shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
