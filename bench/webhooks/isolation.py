"""`make bench-isolation`: what healthy endpoints notice of one that takes every POST and never answers.

The whole way, by the real services: people sign up over HTTP at a steady rate, whatever comes back (open loop); the api's relay
publishes, the dispatcher ingests and posts, a receiver notes the moment. A brand and an endpoint each; one of them has a fifth
of the traffic. The same is run twice in turns: in one run that endpoint answers like the others, in the other it falls silent
when the measurement begins, which is when it hurts most. Latencies count from the call, so they hold a little more than the
time from the commit; what had not come in the end counts as endless.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import aiohttp
import asyncpg
import orjson
import uvloop

from bench.webhooks.stage import (
    OUT,
    Stage,
    ask,
    make_tenants,
    private_servers,
    running_receiver,
    running_service,
    set_stage,
)
from mailement_cli.local.ports import free_port
from mailement_cli.local.servers import LocalServers
from mailement_newsletter.catalog.keys import create_key

_WARM_UP_SECONDS = 4.0
# For what is on its way when the measurement ends; an attempt at the silent endpoint takes longer.
_GRACE_SECONDS = 2.0
# Of the brands, the one whose endpoint falls silent, and how often its turn comes.
_HOLE = 0
_HOLE_EVERY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Of the healthy endpoints, in milliseconds; `delivered` of `sent` within the run."""

    sent: int
    delivered: int
    p50: float
    p99: float
    worst: float


@dataclass(slots=True, kw_only=True)
class Callers:
    """Signs people up and notes when; moments by address, those of healthy brands only once `noting`."""

    session: aiohttp.ClientSession
    url: str
    keys: Sequence[str]
    noting: bool = False
    called_at: dict[str, float] = field(default_factory=dict)
    refused: int = 0

    async def sign_up(self, number: int) -> None:
        brand = self._brand(number)
        email = f"reader{number}@example.com"
        if self.noting and brand != _HOLE:
            self.called_at[email] = time.monotonic()
        async with self.session.post(
            f"{self.url}/api/v1/subscribe",
            json={"email": email},
            headers={"Authorization": f"Bearer {self.keys[brand]}"},
        ) as answer:
            await answer.read()
            self.refused += answer.status != 200

    def _brand(self, number: int) -> int:
        if number % _HOLE_EVERY == 0:
            return _HOLE
        return 1 + number % (len(self.keys) - 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--endpoints", type=int, default=20)
    parser.add_argument("--rate", type=int, default=150, help="sign-ups per second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    calm: list[Figure] = []
    with_hole: list[Figure] = []
    with private_servers() as servers:
        for number in range(wanted.rounds):
            calm.append(uvloop.run(run(servers, wanted, f"calm-{number}", falls_silent=False)))
            with_hole.append(uvloop.run(run(servers, wanted, f"hole-{number}", falls_silent=True)))
    report(wanted, calm, with_hole)
    return 0


async def run(servers: LocalServers, wanted: argparse.Namespace, name: str, *, falls_silent: bool) -> Figure:
    """On a stage of its own, since what waits for a silent endpoint outlasts the run."""
    stage = await set_stage(servers, name)
    port = free_port()
    with (
        running_receiver("--note") as receiver,
        running_service(stage, "api", MAILEMENT_HTTP_PORT=str(port)),
        running_service(stage, "webhook-dispatcher"),
    ):
        keys = await make_brands(stage, [f"{receiver}/{number}" for number in range(wanted.endpoints)])
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            callers = Callers(session=session, url=f"http://127.0.0.1:{port}", keys=keys)
            await call_steadily(callers, wanted.rate, _WARM_UP_SECONDS, first=0)
            if falls_silent:
                await asyncio.to_thread(ask, f"{receiver}/silence/{_HOLE}")
            callers.noting = True
            first = int(wanted.rate * _WARM_UP_SECONDS)
            await call_steadily(callers, wanted.rate, wanted.seconds, first=first)
        await asyncio.sleep(_GRACE_SECONDS)
        arrivals = orjson.loads(await asyncio.to_thread(ask, f"{receiver}/arrivals"))
    if callers.refused:
        sys.exit(f"bench: the api refused {callers.refused} sign-ups; its log is in {OUT}")
    return figure(callers.called_at, arrivals)


async def make_brands(stage: Stage, urls: Sequence[str]) -> list[str]:
    """Their keys, in the order of `urls`."""
    connection = await asyncpg.connect(stage.database_url)
    try:
        tenants = await make_tenants(connection, stage, urls)
        return [(await create_key(connection, tenant.brand, name="bench")).key for tenant in tenants]
    finally:
        await connection.close()


async def call_steadily(callers: Callers, rate: int, seconds: float, *, first: int) -> None:
    """Each call at its moment, whether or not those before it have come back."""
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(begun + number / rate - time.monotonic(), 0))
            group.create_task(callers.sign_up(first + number))


def figure(called_at: dict[str, float], arrivals: Sequence[tuple[str, float, str]]) -> Figure:
    first_arrival: dict[str, float] = {}
    for _, at, email in arrivals:
        first_arrival.setdefault(email, at)
    latencies = sorted(
        (first_arrival[email] - called) * 1000 if email in first_arrival else math.inf
        for email, called in called_at.items()
    )
    return Figure(
        sent=len(latencies),
        delivered=sum(latency < math.inf for latency in latencies),
        p50=latencies[len(latencies) // 2],
        p99=latencies[int(len(latencies) * 0.99)],
        worst=latencies[-1],
    )


def report(wanted: argparse.Namespace, calm: Sequence[Figure], with_hole: Sequence[Figure]) -> None:
    print(
        f"\n{wanted.endpoints} endpoints, {wanted.rate} events/s for {wanted.seconds:.0f} s, one of them with "
        f"{100 // _HOLE_EVERY} % of the traffic; the others, from the call to the receipt, medians of {wanted.rounds}"
    )
    print(f"{'':30}{'p50 ms':>9}{'p99 ms':>9}{'worst ms':>10}{'delivered':>20}")
    sides = {"it answers": median(calm), "it falls silent": median(with_hole)}
    for name, side in sides.items():
        print(
            f"{name:30}{side.p50:9.1f}{side.p99:9.1f}{side.worst:10.1f}{f'{side.delivered} of {side.sent}':>20}"
        )
    ratio = sides["it falls silent"].p99 / sides["it answers"].p99
    print(f"{'p99 beside each other':30}{ratio:18.2f}")
    result = {name: asdict(side) for name, side in sides.items()} | {"ratio_p99": ratio}
    (OUT / "isolation.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def median(figures: Sequence[Figure]) -> Figure:
    """Of the latencies; the counts and the worst are those of all rounds."""
    return Figure(
        sent=sum(figure.sent for figure in figures),
        delivered=sum(figure.delivered for figure in figures),
        p50=statistics.median(figure.p50 for figure in figures),
        p99=statistics.median(figure.p99 for figure in figures),
        worst=max(figure.worst for figure in figures),
    )


if __name__ == "__main__":
    sys.exit(main())
