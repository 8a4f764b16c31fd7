"""`make bench-ingress`: sign-ups per second over HTTP, beside pgbench running the same SQL on the same server.

One worker process, one statement per request, every commit on disk. Both sides take turns within one run on the
same machine, so that the ratio means something; the figures by themselves do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from mailement_cli.commands.migrate import migrate_database
from mailement_cli.local.binaries import find_postgres
from mailement_cli.local.ports import free_port
from mailement_cli.local.servers import LocalServers, start_servers
from mailement_common.bus import topology
from mailement_common.db.pool import connect
from mailement_common.sealing import new_key
from mailement_common.settings import BrokerSettings, DatabaseSettings
from mailement_newsletter.catalog.accounts import create_account
from mailement_newsletter.catalog.brands import create_brand
from mailement_newsletter.catalog.keys import create_key
from mailement_newsletter.rules.lifecycle import OptInMode
from mailement_newsletter.usecases.subscribe import SQL

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    servers: LocalServers
    brand_id: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Of one round. Latencies in milliseconds."""

    per_second: float
    p50: float
    p99: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailement-bench-") as folder:
        Path(folder).chmod(0o711)
        servers = start_servers(Path(folder), durable=True)
        try:
            target = asyncio.run(prepare(servers))
            alone, beside = measure(target, wanted, relay=False)
            relaying, beside_relaying = measure(target, wanted, relay=True)
        finally:
            servers.discard()
    report(
        wanted, [("ingress alone", alone, beside), ("with the relay in the api", relaying, beside_relaying)]
    )
    return 0


async def prepare(servers: LocalServers) -> Target:
    database = DatabaseSettings(database_url=servers.database_url)
    await migrate_database(database)
    await topology.declare(BrokerSettings(amqp_url=servers.amqp_url))
    connection = await connect(database, name="bench")
    account = await create_account(connection, slug="bench", name="Bench")
    brand = await create_brand(
        connection, account_id=account.id, slug="bench", name="Bench", opt_in=OptInMode.SINGLE
    )
    key = await create_key(connection, brand, name="bench")
    await connection.close()
    return Target(servers=servers, brand_id=brand.id, key=key.key)


def measure(target: Target, wanted: argparse.Namespace, *, relay: bool) -> tuple[list[Figure], list[Figure]]:
    """The rounds of the api and of pgbench, taken in turns."""
    api, beside = [], []
    with running_api(target, relay=relay) as url:
        wrk(url, target.key, wanted.connections, 2, run="warm")
        pgbench(target, wanted.connections, 2)
        for number in range(wanted.rounds):
            api.append(wrk(url, target.key, wanted.connections, wanted.seconds, run=f"{relay:d}{number}"))
            settle(target)
            beside.append(pgbench(target, wanted.connections, wanted.seconds))
            settle(target)
    return api, beside


@contextmanager
def running_api(target: Target, *, relay: bool) -> Iterator[str]:
    port, ops_port = free_port(), free_port()
    environ = {
        **os.environ,  # noqa: TID251  handed on to the service
        "DATABASE_URL": target.servers.database_url,
        "AMQP_URL": target.servers.amqp_url,
        "MAILEMENT_SECRET_KEYS": new_key("bench"),
        "MAILEMENT_HTTP_PORT": str(port),
        "MAILEMENT_OPS_PORT": str(ops_port),
        "MAILEMENT_RELAY_IN_API": str(relay).lower(),
    }
    with (ROOT / "bench" / "out" / "api.log").open("wb") as log:
        process = subprocess.Popen(
            [ROOT / ".venv" / "bin" / "mailement", "run", "api"], env=environ, stdout=log, stderr=log
        )
        try:
            await_ready(f"http://127.0.0.1:{port}/readyz")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def await_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def settle(target: Target) -> None:
    """What one side left behind must not burden the other: the outbox is emptied, dirty pages are written."""
    psql: list[str | Path] = [postgres_binary("psql"), "-qAt", "-d", target.servers.database_url]
    subprocess.run([*psql, "-c", "TRUNCATE outbox", "-c", "CHECKPOINT"], check=True, capture_output=True)


def wrk(url: str, key: str, connections: int, seconds: int, *, run: str) -> Figure:
    command: list[str | Path] = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        HERE / "subscribe.lua",
        url,
    ]
    out = subprocess.run([*command, "--", run, key], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"the api refused some of the sign-ups:\n{out}")
    return Figure(
        per_second=float(found(r"Requests/sec:\s+([\d.]+)", out)[1]),
        p50=milliseconds(found(r"50%\s+([\d.]+)(us|ms|s)", out)),
        p99=milliseconds(found(r"99%\s+([\d.]+)(us|ms|s)", out)),
    )


def pgbench(target: Target, connections: int, seconds: int) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "subscribe.sql"
        script.write_text(pgbench_script(target.brand_id), encoding="utf-8")
        command: list[str | Path] = [
            postgres_binary("pgbench"),
            "-n",
            "-M",
            "prepared",
            f"-c{connections}",
            "-j1",
            f"-T{seconds}",
        ]
        log = ["-l", f"--log-prefix={folder}/log"]
        done = subprocess.run(
            [*command, *log, "-f", script, target.servers.database_url],
            check=True,
            capture_output=True,
            text=True,
        )
        latencies = sorted(
            int(line.split()[2]) / 1000
            for path in Path(folder).glob("log.*")
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    return Figure(
        per_second=float(found(r"tps = ([\d.]+)", done.stdout)[1]),
        p50=latencies[len(latencies) // 2],
        p99=latencies[int(len(latencies) * 0.99)],
    )


def pgbench_script(brand_id: int) -> str:
    """The api's own statement; only the parameter is put together by the server."""
    person = (
        f'\'[{{"seq":0,"brand_id":{brand_id},"email":"p\' || :client_id || \'-\' || :n || \'@example.com",'
        "\"email_key\":\"p' || :client_id || '-' || :n || '@example.com\","
        '"first_name":"Maria","last_name":"Costa","city":"Lisbon","source":"api",'
        '"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}]\''
    )
    return f"\\set n random(1, 9000000000000000)\n{SQL['subscribe'].replace('$1', f'(({person})::jsonb)')};\n"


def postgres_binary(name: str) -> Path:
    binaries = find_postgres(os.environ)  # noqa: TID251
    if binaries is None:
        sys.exit("bench: PostgreSQL's programs are not on this machine; run `make setup`")
    return binaries.program(name)


def found(pattern: str, text: str) -> re.Match[str]:
    match = re.search(pattern, text)
    if match is None:
        sys.exit(f"bench: cannot read this:\n{text}")
    return match


def milliseconds(match: re.Match[str]) -> float:
    return float(match[1]) * {"us": 0.001, "ms": 1, "s": 1000}[match[2]]


def report(wanted: argparse.Namespace, sides: list[tuple[str, list[Figure], list[Figure]]]) -> None:
    print(
        f"\nsign-ups of new subscribers, {wanted.connections} connections, median of {wanted.rounds} rounds"
    )
    print(f"{'':28}{'per second':>12}{'p50 ms':>9}{'p99 ms':>9}{'of pgbench':>12}")
    result: dict[str, Mapping[str, float]] = {}
    for name, api, beside in sides:
        ours, theirs = median(api), median(beside)
        ratio = ours.per_second / theirs.per_second
        print(f"{name:28}{ours.per_second:12.0f}{ours.p50:9.1f}{ours.p99:9.1f}{ratio:12.2f}")
        print(
            f"{'  pgbench, in turns with it':28}{theirs.per_second:12.0f}{theirs.p50:9.1f}{theirs.p99:9.1f}"
        )
        result[name] = {
            "api": ours.per_second,
            "p99_ms": ours.p99,
            "pgbench": theirs.per_second,
            "ratio": ratio,
        }
    out = ROOT / "bench" / "out" / "ingress.json"
    out.write_text(json.dumps(result, indent=2), encoding="utf-8")


def median(figures: list[Figure]) -> Figure:
    return Figure(
        per_second=statistics.median(figure.per_second for figure in figures),
        p50=statistics.median(figure.p50 for figure in figures),
        p99=statistics.median(figure.p99 for figure in figures),
    )


if __name__ == "__main__":
    (ROOT / "bench" / "out").mkdir(exist_ok=True)
    sys.exit(main())
