"""`make bench-mail`: mails per second with the full ledger, beside the same bytes sent with nothing behind them; and how long
another brand's welcome mail takes beside a backlog.

A backlog waits in PostgreSQL; one mailer process, as `mailement run mailer` starts it, renders it, hands it to a sink (SMTP, or
Resend's API in batches) and writes every attempt down. Beside each such round a bare loop sends the very bytes that the sink got,
with as many connections. All take turns within one run on the same machine: read the ratios.

Then `--backlog` mails of brand A wait, and now and then a subscriber of brand B gets a mail: the time from the commit of its row
until it stands at the sink, with the backlog and without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg
import orjson

from bench.webhooks.costs import Costs, Meter, load_statement_counter, new_meter
from bench.webhooks.stage import (
    OUT,
    ROOT,
    Stage,
    ask,
    ending,
    inherited,
    private_servers,
    running_service,
    set_stage,
    until,
)
from mailement_cli.local.ports import free_port
from mailement_cli.local.servers import LocalServers
from mailement_common.bus.publisher import Publisher
from mailement_common.clock import SystemClock
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import BrandId, event_id
from mailement_common.settings import BrokerSettings, DatabaseSettings

_SECONDS = 900.0
_WARM_UP = 500
_KINDS = ("smtp", "resend")
_PARAGRAPH = (
    "This is a paragraph of a letter that somebody reads with some attention, because it was written for people and not for "
    "machines; it says what there is to say, and then it stops."
)
_HTML = f"""<!doctype html><html><body style="font-family:sans-serif">
<h1>Lesson one, {{{{ first_name | default: 'reader' }}}}</h1>
{"".join(f"<p>{_PARAGRAPH}</p>" for _ in range(12))}
<p>Greetings to {{{{ city | default: 'you' }}}}. <a href="{{{{ unsubscribe_url }}}}">Leave</a></p></body></html>"""
_TEXT = f"""Lesson one, {{{{ first_name | default: 'reader' }}}}

{_PARAGRAPH * 4}

Greetings to {{{{ city | default: 'you' }}}}. Leave: {{{{ unsubscribe_url }}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Of one round; CPU in microseconds per mail. None: not measured."""

    per_second: float
    sender_us: float
    database_us: float | None = None
    statements_per_thousand: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    kind: str
    port: int
    count_url: str

    def received(self) -> int:
        return int(ask(f"{self.count_url}/count"))

    @property
    def settings(self) -> dict[str, str]:
        common = {
            "MAILEMENT_MAIL_PROVIDER": self.kind,
            "MAILEMENT_MAIL_FROM": "Bench <news@bench.example>",
            "MAILEMENT_PUBLIC_URL": "https://news.bench.example",
        }
        if self.kind == "smtp":
            return {
                **common,
                "MAILEMENT_SMTP_HOST": "127.0.0.1",
                "MAILEMENT_SMTP_PORT": str(self.port),
                "MAILEMENT_SMTP_TLS": "none",
            }
        return {
            **common,
            "MAILEMENT_RESEND_API_KEY": "re_bench",
            "MAILEMENT_RESEND_URL": f"http://127.0.0.1:{self.port}",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    stage: Stage
    connection: asyncpg.Connection
    meter: Meter
    brands: Sequence[int]
    steps: Sequence[int]


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Mails per second with the full ledger, and what another brand notices."
    )
    parser.add_argument("--mails", type=int, default=10_000, help="of each round")
    parser.add_argument(
        "--at-once", type=int, default=32, help="connections, and MAILEMENT_MAILER_CONCURRENCY"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=_KINDS)
    parser.add_argument(
        "--backlog", type=int, default=200_000, help="mails of brand A that wait beside brand B's"
    )
    parser.add_argument("--welcomes", type=int, default=200, help="mails of brand B, ten a second")
    wanted = parser.parse_args()
    with private_servers() as servers:
        figures, delays = asyncio.run(measure(servers, wanted))
    report(wanted, figures, delays)
    return 0


Figures = dict[str, dict[str, list[Figure]]]
Delays = dict[str, dict[str, list[float]]]


async def measure(servers: LocalServers, wanted: argparse.Namespace) -> tuple[Figures, Delays]:
    counts = await load_statement_counter(servers, DatabaseSettings(database_url=servers.database_url))
    figures: Figures = {}
    delays: Delays = {}
    for kind in wanted.kinds:
        stage = await set_stage(servers, f"mail{kind}")
        connection = await asyncpg.connect(stage.database_url)
        meter = await new_meter(connection, counts_statements=counts)
        brands, steps = await furnish(connection)
        bench = Bench(stage=stage, connection=connection, meter=meter, brands=brands, steps=steps)
        try:
            with running_sink(kind) as sink:
                figures[kind] = await take_turns(bench, sink, wanted)
            delays[kind] = await welcome(bench, wanted, kind)
        finally:
            await connection.close()
    return figures, delays


@contextmanager
def running_sink(kind: str) -> Iterator[Sink]:
    port, count_port = free_port(), free_port()
    words = [sys.executable, "-m", "bench.mail.sinks", kind, str(port), str(count_port)]
    sink = Sink(kind=kind, port=port, count_url=f"http://127.0.0.1:{count_port}")
    with ending(words, environ=inherited()):
        until(lambda: _answers(sink), seconds=30, what="the sink answers")
        yield sink


def _answers(sink: Sink) -> bool:
    try:
        return sink.received() >= 0
    except OSError:
        return False


async def take_turns(bench: Bench, sink: Sink, wanted: argparse.Namespace) -> dict[str, list[Figure]]:
    await drain(bench, sink, _WARM_UP, wanted.at_once)
    sample = OUT / f"{sink.kind}.sample"
    found: dict[str, list[Figure]] = {"mailer, full ledger": [], "bare loop": []}
    for _ in range(wanted.rounds):
        found["mailer, full ledger"].append(await drain(bench, sink, wanted.mails, wanted.at_once))
        sample.write_bytes(ask(f"{sink.count_url}/sample"))
        found["bare loop"].append(bare(sink, str(sample), wanted))
    return found


def bare(sink: Sink, sample: str, wanted: argparse.Namespace) -> Figure:
    # The mailer makes four requests at a time of a provider that takes batches.
    at_once = wanted.at_once if sink.kind == "smtp" else 4
    words = [sys.executable, "-m", "bench.mail.bare", sink.kind, str(sink.port), sample]
    done = subprocess.run(
        [*words, str(wanted.mails), str(at_once)], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    found = json.loads(done.stdout)
    return Figure(per_second=found["per_second"], sender_us=found["cpu_us"])


async def drain(bench: Bench, sink: Sink, mails: int, at_once: int) -> Figure:
    """From the first mail at the sink to the moment when the last one stands in the ledger."""
    await queue(bench, brand=0, mails=mails)
    already = sink.received()
    with running_service(
        bench.stage, "mailer", MAILEMENT_MAILER_CONCURRENCY=str(at_once), **sink.settings
    ) as mailer:
        until(lambda: sink.received() > already, seconds=_SECONDS, what="the first mail")
        begun, costs_begun = time.perf_counter(), await bench.meter.read(mailer.pid)
        sent_before = sink.received() - already
        until(lambda: sink.received() >= already + mails, seconds=_SECONDS, what="the last mail")
        await until_recorded(bench.connection)
        seconds, costs = time.perf_counter() - begun, await bench.meter.read(mailer.pid)
    if (copies := sink.received() - already - mails) > 0:
        print(f"bench: {copies} of {mails} mails came twice", file=sys.stderr)
    return figure(mails - sent_before, seconds, costs_begun, costs)


def figure(mails: int, seconds: float, before: Costs, after: Costs) -> Figure:
    statements = None
    if before.statements is not None and after.statements is not None:
        statements = (after.statements - before.statements) / mails * 1000
    return Figure(
        per_second=mails / seconds,
        sender_us=(after.sender_cpu - before.sender_cpu) / mails * 1e6,
        database_us=(after.database_cpu - before.database_cpu) / mails * 1e6,
        statements_per_thousand=statements,
    )


async def until_recorded(connection: asyncpg.Connection) -> None:
    deadline = time.monotonic() + _SECONDS
    while await connection.fetchval(
        "SELECT EXISTS (SELECT FROM messages WHERE state IN ('claimed', 'sending'))"
        " OR EXISTS (SELECT FROM messages WHERE state = 'queued')"
    ):
        if time.monotonic() > deadline:
            sys.exit("bench: the sink has everything, and the ledger does not say so")
        await asyncio.sleep(0.005)


async def furnish(connection: asyncpg.Connection) -> tuple[list[int], list[int]]:
    """Two brands with a drip of one step each, and readers of brand A."""
    brands, steps = [], []
    account = await connection.fetchval(
        "INSERT INTO accounts (slug, name) VALUES ('bench', 'Bench') RETURNING id"
    )
    for slug in ("a", "b"):
        brand = await connection.fetchval(
            "INSERT INTO brands (account_id, slug, name, opt_in_mode) VALUES ($1, $2, $2, 'single') RETURNING id",
            account,
            slug,
        )
        drip = await connection.fetchval(
            "INSERT INTO drips (brand_id, name, trigger) VALUES ($1, 'welcome', 'manual') RETURNING id", brand
        )
        steps.append(
            await connection.fetchval(
                """INSERT INTO drip_steps (drip_id, position, delay, subject, html, body_text)
                VALUES ($1, 1024, interval '0', 'Lesson one, {{ first_name }}', $2, $3) RETURNING id""",
                drip,
                _HTML,
                _TEXT,
            )
        )
        brands.append(brand)
    await connection.execute(
        """INSERT INTO subscribers (brand_id, email, email_key, first_name, city, status)
        SELECT $1, k, k, 'Maria', 'Lisbon', 'confirmed'
        FROM (SELECT 'reader' || n || '@domain' || n % 500 || '.example' AS k FROM generate_series(1, 20000) AS n) AS s""",
        brands[0],
    )
    return brands, steps


async def queue(bench: Bench, *, brand: int, mails: int) -> None:
    await bench.connection.execute(
        """INSERT INTO messages (brand_id, subscriber_id, kind, lane, drip_id, drip_step_id, dedupe_key)
        SELECT $1, s.id, 'drip', t.drip_id, t.drip_id, t.id, 'bench:' || gen_random_uuid()
        FROM drip_steps AS t
        CROSS JOIN generate_series(1, $3::int) AS g (mail)
        INNER JOIN (SELECT k.id, row_number() OVER (ORDER BY k.id) AS n FROM subscribers AS k WHERE k.brand_id = $1) AS s
        ON s.n = 1 + g.mail % 20000
        WHERE t.id = $2""",
        bench.brands[brand],
        bench.steps[brand],
        mails,
        timeout=_SECONDS,
    )
    await bench.connection.execute("VACUUM ANALYZE messages", timeout=_SECONDS)
    await bench.connection.execute("CHECKPOINT", timeout=_SECONDS)


async def welcome(bench: Bench, wanted: argparse.Namespace, kind: str) -> dict[str, list[float]]:
    """Seconds from the commit of brand B's mails to the sink: without anything else, and beside the backlog."""
    found = {}
    with running_sink(kind) as sink:
        with running_service(
            bench.stage, "mailer", MAILEMENT_MAILER_CONCURRENCY=str(wanted.at_once), **sink.settings
        ):
            found["alone"] = await welcomes(bench, sink, wanted.welcomes, "alone")
        await queue(bench, brand=0, mails=wanted.backlog)
        with running_service(
            bench.stage, "mailer", MAILEMENT_MAILER_CONCURRENCY=str(wanted.at_once), **sink.settings
        ):
            already = sink.received()
            until(lambda: sink.received() > already + 100, seconds=_SECONDS, what="the backlog is under way")
            found["beside the backlog"] = await welcomes(bench, sink, wanted.welcomes, "beside")
            left = await bench.connection.fetchval(
                "SELECT EXISTS (SELECT FROM messages WHERE state = 'queued' AND brand_id = $1)",
                bench.brands[0],
            )
            if not left:
                print(
                    f"bench: the backlog of {kind} was gone before the last welcome; give it more",
                    file=sys.stderr,
                )
    return found


async def welcomes(bench: Bench, sink: Sink, count: int, name: str) -> list[float]:
    broker = BrokerSettings(
        amqp_url=bench.stage.settings["AMQP_URL"],
        bus_namespace=bench.stage.settings["MAILEMENT_BUS_NAMESPACE"],
    )
    publisher = Publisher(broker, name="bench")
    await publisher.connect(asyncio.Event())
    committed: dict[str, float] = {}
    for number in range(count):
        email = f"{name}{number}@timed.example"
        message = await bench.connection.fetchval(
            """WITH s AS (
                INSERT INTO subscribers (brand_id, email, email_key, first_name, status)
                VALUES ($1, $2, $2, 'Ada', 'confirmed') RETURNING id
            )
            INSERT INTO messages (brand_id, subscriber_id, kind, lane, drip_id, drip_step_id, dedupe_key)
            SELECT $1, s.id, 'drip', t.drip_id, t.drip_id, t.id, 'welcome:' || s.id
            FROM s CROSS JOIN drip_steps AS t WHERE t.id = $3 RETURNING id""",
            bench.brands[1],
            email,
            bench.steps[1],
        )
        committed[email] = time.time()
        await publisher.publish([queued(bench, message)])
        await asyncio.sleep(0.1)
    until(lambda: committed.keys() <= _times(sink).keys(), seconds=_SECONDS, what="the last welcome")
    await publisher.close()
    times = _times(sink)
    return [times[email] - at for email, at in committed.items()]


def _times(sink: Sink) -> dict[str, float]:
    found: dict[str, float] = orjson.loads(ask(f"{sink.count_url}/times"))
    return found


def queued(bench: Bench, message: int) -> Envelope:
    """What the drip scheduler tells when it has written a mail."""
    return Envelope(
        id=event_id("message", message, 1),
        type=EventType.MESSAGE_QUEUED,
        brand_id=BrandId(bench.brands[1]),
        occurred_at=SystemClock().now(),
        data={"count": 1},
    )


def report(wanted: argparse.Namespace, figures: Figures, delays: Delays) -> None:
    print(f"\n{wanted.mails} mails that wait, rendered and handed over, medians of {wanted.rounds} rounds")
    print(
        f"{'':34}{'per second':>12}{'of the loop':>12}{'sender µs':>11}{'database µs':>13}{'SQL per 1,000':>15}"
    )
    result: dict[str, object] = {}
    for kind, sides in figures.items():
        print(f"{kind}, {wanted.at_once} connections" if kind == "smtp" else f"{kind}, batches of 100")
        loop = statistics.median(each.per_second for each in sides["bare loop"])
        for name, rounds in sides.items():
            middle = statistics.median(each.per_second for each in rounds)
            sender = statistics.median(each.sender_us for each in rounds)
            database = [each.database_us for each in rounds if each.database_us is not None]
            statements = [
                each.statements_per_thousand for each in rounds if each.statements_per_thousand is not None
            ]
            print(
                f"{'  ' + name:34}{middle:>12,.0f}{middle / loop:>12.2f}{sender:>11,.0f}"
                f"{_shown(database, 0):>13}{_shown(statements, 1):>15}"
            )
            result[f"{kind} {name}"] = {"per_second": middle, "of_loop": middle / loop, "sender_us": sender}
    print(
        f"\nfrom the commit of brand B's mail to the sink, {wanted.welcomes} mails, {wanted.backlog:,} of brand A waiting"
    )
    print(f"{'':34}{'p50 ms':>12}{'p99 ms':>12}")
    for kind, parts in delays.items():
        for name, seconds in parts.items():
            p50, p99 = _percentile(seconds, 50), _percentile(seconds, 99)
            print(f"{f'{kind}, {name}':34}{p50 * 1000:>12.1f}{p99 * 1000:>12.1f}")
            result[f"{kind} {name}"] = {"p50_ms": p50 * 1000, "p99_ms": p99 * 1000}
    (OUT / "mail.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def _shown(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f}" if values else ""


def _percentile(values: Sequence[float], which: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * which // 100)]


if __name__ == "__main__":
    sys.exit(main())
