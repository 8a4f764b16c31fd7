"""Two dispatchers, killed in turns under load: nothing is lost, copies are few, the ledger has every attempt, and order
holds where it was asked for. A replay goes on through all of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import orjson
import pytest

from mailement_cli.torture.behaviours import ok
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import AccountId, BrandId, EventId
from mailement_common.sealing import KeyRing, new_key
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.replays import Replay, ReplayFilter, ReplayState
from mailement_webhooks.usecases.change_replay import set_replay_rate
from mailement_webhooks.usecases.create_endpoint import NewEndpoint, create_endpoint
from mailement_webhooks.usecases.list_replays import show_replay
from mailement_webhooks.usecases.start_replay import start_replay
from tests.support.bus import Bus
from tests.support.database import Database
from tests.support.processes import Program
from tests.support.webhook_receiver import Received, WebhookReceiver
from tests.support.webhooks import ANYWHERE, LOOPBACK, subscriber_facts

pytestmark = pytest.mark.timeout(240)

_KILLS = 20
_EVENTS_PER_KILL = 100
# What is replayed meanwhile, slowly enough to last.
_SEEDS = 300
_SLOW_REPLAY = 1.0
_BRANDS = 4
_READERS = 10
# So that what a dead dispatcher had under way, which counts until its leases end, leaves room for more.
_MOST_IN_FLIGHT = 1000
# So long a receiver thinks, so that a killed dispatcher leaves something half done.
_THINKING_SECONDS = 0.02
_DEADLINE_SECONDS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One account. `endpoints`: by path; `heard_by`: the paths that an event of each brand comes to."""

    database: Database
    bus: Bus
    receiver: WebhookReceiver
    brands: Sequence[BrandId]
    endpoints: Mapping[str, Endpoint]
    heard_by: Mapping[BrandId, Sequence[str]]

    async def publish(self, events: Sequence[Envelope]) -> None:
        await self.bus.publish(*events)

    def events(self, count: int, brands: Sequence[BrandId] = ()) -> list[Envelope]:
        """Spread over brands and readers."""
        chosen = brands or self.brands
        return [_event(chosen[number % len(chosen)], number // len(chosen)) for number in range(count)]

    def expected(self, events: Sequence[Envelope]) -> set[tuple[str, str]]:
        """Event ids and the paths that they must come to."""
        return {(str(event.id), path) for event in events for path in self.heard_by[event.brand_id]}

    def received(self) -> Counter[tuple[str, str]]:
        """How often each event came to each path."""
        return Counter((request.header("webhook-id"), request.path) for request in self.receiver.requests)


def _event(brand_id: BrandId, number: int) -> Envelope:
    """The events of one reader take turns, like the readers."""
    kinds = (EventType.SUBSCRIBER_CONFIRMED, EventType.SUBSCRIBER_UNSUBSCRIBED)
    reader = subscriber_facts(brand_id * 1000 + number % _READERS)
    return Envelope(
        id=EventId(uuid4()),
        type=kinds[number // _READERS % 2],
        brand_id=brand_id,
        occurred_at=datetime.now(UTC),  # noqa: TID251  its partition is the one of today
        data={"brand_slug": f"brand-{brand_id}", "subscriber": reader},
    )


async def _thinking(request: Received, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(_THINKING_SECONDS)
    await ok(request, writer)


@pytest.fixture
def keys() -> str:
    return new_key("crashes")


@pytest.fixture
async def scene(database: Database, bus: Bus, keys: str) -> AsyncIterator[Scene]:
    account_id, brands = await _make_brands(database.pool)
    async with WebhookReceiver() as receiver:
        wanted = [
            ("/ordered", True, brands[0]),
            ("/beside-it", False, brands[0]),
            ("/ordered-too", True, brands[1]),
            ("/replayed", False, brands[2]),
            ("/third-ordered", True, brands[3]),
            ("/all-brands", False, None),
        ]
        endpoints = {}
        for path, ordered, brand_id in wanted:
            receiver.behave(_thinking, path)
            new = NewEndpoint(
                url=receiver.url(path),
                brand_id=brand_id,
                account_id=None if brand_id else account_id,
                ordered=ordered,
                max_in_flight=_MOST_IN_FLIGHT,
            )
            endpoints[path], _ = await create_endpoint(database.pool, KeyRing(keys), new, guard=ANYWHERE)
        yield Scene(
            database=database,
            bus=bus,
            receiver=receiver,
            brands=brands,
            endpoints=endpoints,
            heard_by={
                brand_id: [path for path, _, owner in wanted if owner in (brand_id, None)]
                for brand_id in brands
            },
        )


async def _make_brands(pool: asyncpg.Pool) -> tuple[AccountId, list[BrandId]]:
    account_id = await pool.fetchval(
        "INSERT INTO accounts (slug, name) VALUES ('house', 'House') RETURNING id"
    )
    rows = await pool.fetch(
        """INSERT INTO brands (account_id, slug, name, opt_in_mode)
        SELECT $1, 'brand-' || n, 'Brand ' || n, 'single' FROM generate_series(1, $2) AS n RETURNING id""",
        account_id,
        _BRANDS,
    )
    return AccountId(account_id), [BrandId(row["id"]) for row in rows]


@dataclass(slots=True, kw_only=True)
class Dispatcher:
    """`mailement run webhook-dispatcher`, with one life after the other."""

    settings: Mapping[str, str]
    folder: Path
    life: Program | None = None

    def start(self) -> None:
        self.life = Program(["run", "webhook-dispatcher"], self.settings, self.folder)

    def wait_until_it_owns(self) -> None:
        """Waits until it has shards, and so something to do."""
        assert self.life is not None
        if "webhook.shards_taken" not in self.life.output:
            self.life.wait_for("webhook.shards_taken")

    def kill(self) -> None:
        """By SIGKILL, in the middle of whatever it does."""
        assert self.life is not None
        self.life.kill()


@pytest.fixture
def dispatchers(scene: Scene, keys: str, tmp_path: Path) -> Iterator[list[Dispatcher]]:
    """Two that run; at the end they do not run any more."""
    settings = {
        "DATABASE_URL": scene.database.url,
        "AMQP_URL": scene.bus.settings.amqp_url,
        "MAILEMENT_BUS_NAMESPACE": scene.bus.settings.bus_namespace,
        "MAILEMENT_SECRET_KEYS": keys,
        "MAILEMENT_WEBHOOK_ALLOW_CIDRS": LOOPBACK,
        "MAILEMENT_WEBHOOK_BRAND_CONCURRENCY": str(_MOST_IN_FLIGHT),
        "MAILEMENT_OPS_PORT": "0",
    }
    made = [Dispatcher(settings=settings, folder=tmp_path) for _ in range(2)]
    for dispatcher in made:
        dispatcher.start()
    yield made
    for dispatcher in made:
        dispatcher.kill()


async def test_twenty_kills_lose_nothing_and_mix_nothing_up(
    scene: Scene, dispatchers: list[Dispatcher]
) -> None:
    seeds = scene.events(_SEEDS, [scene.brands[2]])
    await scene.publish(seeds)
    await _until_all_is_delivered(scene, seeds)
    replayed = scene.endpoints["/replayed"].id
    replay = await start_replay(scene.database.pool, replayed, ReplayFilter(), rate_per_second=_SLOW_REPLAY)

    live = await _kill_in_turns(scene, dispatchers)
    assert (await show_replay(scene.database.pool, replay.id)).state is ReplayState.RUNNING
    await set_replay_rate(scene.database.pool, replay.id, 1000)
    await _until_all_is_delivered(scene, [*seeds, *live])
    finished = await _until_finished(scene, replay)

    assert (finished.total, finished.enqueued, finished.delivered, finished.failed) == (
        _SEEDS,
        _SEEDS,
        _SEEDS,
        0,
    )
    await _nothing_was_lost(scene, scene.expected([*seeds, *live]))
    await _every_copy_comes_from_a_crash(scene, twice={(str(event.id), "/replayed") for event in seeds})
    await _the_ledger_has_no_gaps(scene)
    _order_held(scene)
    await _nobody_is_blamed(scene)


async def _kill_in_turns(scene: Scene, dispatchers: Sequence[Dispatcher]) -> list[Envelope]:
    """What was published meanwhile. Each kill hits one that has shards, and comes while deliveries are under way."""
    published: list[Envelope] = []
    for number in range(_KILLS):
        victim = dispatchers[number % len(dispatchers)]
        await asyncio.to_thread(victim.wait_until_it_owns)
        events = scene.events(_EVENTS_PER_KILL)
        publishing = asyncio.create_task(scene.publish(events))
        await _until_more_came(scene, _EVENTS_PER_KILL // 2)
        await asyncio.to_thread(victim.kill)
        victim.start()
        await publishing
        published += events
    return published


async def _until_more_came(scene: Scene, count: int) -> None:
    enough = len(scene.receiver.requests) + count

    async def came() -> bool:
        return len(scene.receiver.requests) >= enough

    await _until(came, f"{count} more POSTs")


async def _until_all_is_delivered(scene: Scene, events: Sequence[Envelope]) -> None:
    expected = scene.expected(events)

    async def delivered() -> bool:
        return await _queued(scene, live_only=True) == 0 and expected <= scene.received().keys()

    await _until(delivered, f"all {len(expected)} deliveries are made")


async def _queued(scene: Scene, *, live_only: bool) -> int:
    count: int = await scene.database.pool.fetchval(
        "SELECT count(*) FROM delivery_queue WHERE replay_id IS NULL OR NOT $1", live_only
    )
    return count


async def _until_finished(scene: Scene, replay: Replay) -> Replay:
    async def finished() -> bool:
        shown = await show_replay(scene.database.pool, replay.id)
        return shown.state is ReplayState.FINISHED and shown.waiting == 0

    await _until(finished, "the replay has finished")
    return await show_replay(scene.database.pool, replay.id)


async def _until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"did not happen within {_DEADLINE_SECONDS} s: {what}") from None


async def _nothing_was_lost(scene: Scene, expected: set[tuple[str, str]]) -> None:
    """Everything came, and the ledger says so; nothing is left in the queue."""
    assert scene.received().keys() == expected
    rows = await scene.database.pool.fetch("SELECT event_id, endpoint_id, state FROM deliveries")
    paths = {endpoint.id: path for path, endpoint in scene.endpoints.items()}
    assert Counter((str(row["event_id"]), paths[EndpointId(row["endpoint_id"])]) for row in rows) == Counter(
        expected
    )
    assert {row["state"] for row in rows} == {"delivered"}
    assert await _queued(scene, live_only=False) == 0


async def _every_copy_comes_from_a_crash(scene: Scene, *, twice: set[tuple[str, str]]) -> None:
    """Beside the one that counts, and the replayed one, an event came at most once for each attempt that was cut off."""
    rows = await scene.database.pool.fetch(
        """SELECT d.event_id, d.endpoint_id,
        count(*) FILTER (WHERE a.outcome = 'delivered') AS delivered,
        count(*) FILTER (WHERE a.outcome = 'interrupted') AS interrupted,
        count(*) FILTER (WHERE a.outcome = 'failed') AS failed
        FROM deliveries AS d
        INNER JOIN delivery_attempts AS a ON a.delivery_id = d.id AND a.occurred_at = d.occurred_at
        GROUP BY d.event_id, d.endpoint_id"""
    )
    paths = {endpoint.id: path for path, endpoint in scene.endpoints.items()}
    received = scene.received()
    for row in rows:
        key = (str(row["event_id"]), paths[EndpointId(row["endpoint_id"])])
        assert (row["delivered"], row["failed"]) == (2 if key in twice else 1, 0), key
        assert row["interrupted"] <= _KILLS
        assert row["delivered"] <= received[key] <= row["delivered"] + row["interrupted"], key
    assert sum(row["interrupted"] for row in rows) > 0, "no kill came at a bad time"


async def _the_ledger_has_no_gaps(scene: Scene) -> None:
    holes = await scene.database.pool.fetch(
        """SELECT d.id, d.attempts, array_agg(a.number ORDER BY a.number) AS numbers
        FROM deliveries AS d
        LEFT JOIN delivery_attempts AS a ON a.delivery_id = d.id AND a.occurred_at = d.occurred_at
        GROUP BY d.id, d.attempts
        HAVING array_agg(a.number ORDER BY a.number) <> ARRAY(SELECT generate_series(1, d.attempts))
        OR d.attempts = 0"""
    )
    assert [dict(row) for row in holes] == []
    skipped = await scene.database.pool.fetch(
        """SELECT endpoint_id FROM deliveries GROUP BY endpoint_id
        HAVING min(sequence) <> 1 OR max(sequence) <> count(*) OR count(DISTINCT sequence) <> count(*)"""
    )
    assert [dict(row) for row in skipped] == []


def _order_held(scene: Scene) -> None:
    """Of each reader, what came first came in the order of the sequence."""
    came: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    seen = set()
    for request in scene.receiver.requests:
        if "ordered" in request.path and (key := (request.header("webhook-id"), request.path)) not in seen:
            seen.add(key)
            reader = orjson.loads(request.body)["data"]["subscriber"]["id"]
            came[request.path, reader].append(int(request.header("webhook-sequence")))
    assert len(came) == 3 * _READERS
    assert {key: numbers for key, numbers in came.items() if numbers != sorted(numbers)} == {}


async def _nobody_is_blamed(scene: Scene) -> None:
    """A crash of ours is no failure of an endpoint."""
    pool = scene.database.pool
    assert await pool.fetchval("SELECT count(*) FROM webhook_endpoints WHERE state = 'enabled'") == len(
        scene.endpoints
    )
    troubled = await pool.fetch(
        """SELECT endpoint_id FROM webhook_endpoint_health
        WHERE consecutive_failures > 0 OR breaker_trips > 0 OR hold_until IS NOT NULL"""
    )
    assert [dict(row) for row in troubled] == []
