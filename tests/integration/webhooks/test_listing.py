"""Deliveries are found by state, endpoint, type and time, page by page, at the cost of a page."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from mailement_common.db.pool import connect
from mailement_common.settings import DatabaseSettings
from mailement_webhooks.deliveries import Delivery, DeliveryState
from mailement_webhooks.endpoints import Drain
from mailement_webhooks.errors import BadCursor, DeliveryNotFound
from mailement_webhooks.ids import DeliveryId, EndpointId
from mailement_webhooks.rules.health import Health, HoldReason
from mailement_webhooks.usecases import (
    explain_delivery,
    pull_events,
    remove_payload,
    show_endpoint,
    start_replay,
)
from mailement_webhooks.usecases import list_deliveries as deed
from mailement_webhooks.usecases import resend_delivery as resend_deed
from mailement_webhooks.usecases import show_delivery as show_delivery_deed
from mailement_webhooks.usecases.enable_endpoint import enable_endpoint
from mailement_webhooks.usecases.list_deliveries import DeliveryFilter, Page, list_deliveries
from mailement_webhooks.usecases.resend_delivery import resend_delivery
from mailement_webhooks.usecases.save_health import save_health
from mailement_webhooks.usecases.show_delivery import show_delivery
from tests.integration.newsletter.plans import scans
from tests.support.database import Database
from tests.support.delivery_ledger import DeliveryLedger, delivered, failed

STATES = tuple(DeliveryState)
_LONG_AGO = datetime(1, 1, 2, tzinfo=UTC)
_EVER = (_LONG_AGO, datetime(9999, 1, 1, tzinfo=UTC))


async def _list(ledger: DeliveryLedger, *, limit: int = 50, cursor: str | None = None, **wanted: Any) -> Page:
    return await list_deliveries(
        ledger.pool,
        DeliveryFilter(**{"brand_id": ledger.brand_id, **wanted}),
        limit=limit,
        cursor=cursor,
    )


async def _pages(ledger: DeliveryLedger, *, limit: int, **wanted: Any) -> list[Delivery]:
    """All pages, each followed by its cursor."""
    found: list[Delivery] = []
    cursor: str | None = None
    while True:
        page = await _list(ledger, limit=limit, cursor=cursor, **wanted)
        assert len(page.deliveries) <= limit
        found += page.deliveries
        cursor = page.cursor
        if cursor is None:
            return found


async def _rest(ledger: DeliveryLedger, endpoint_id: EndpointId) -> None:
    """As after many failures."""
    until = datetime.now(UTC) + timedelta(minutes=5)  # noqa: TID251 - compared with the database's clock
    resting = Health(
        consecutive_failures=10, breaker_trips=1, hold_until=until, hold_reason=HoldReason.BREAKER
    )
    async with ledger.pool.acquire() as connection:
        await save_health(connection, {endpoint_id: resting})


async def _one_of_each(ledger: DeliveryLedger) -> dict[DeliveryState, set[DeliveryId]]:
    """Two deliveries in every state, to endpoints of the brand and of its account."""
    found: dict[DeliveryState, set[DeliveryId]] = {state: set() for state in STATES}
    for every_brand in (False, True):
        usual = await ledger.endpoint(every_brand=every_brand)
        await ledger.happens(4)
        ended = sorted((await ledger.claim(usual)).deliveries, key=lambda each: each.sequence)
        await ledger.record(delivered(ended[0]), failed(ended[1]), failed(ended[2], again_in=60))
        for state, each in zip(("delivered", "failed", "pending", "leased"), ended, strict=True):
            found[DeliveryState(state)].add(each.id)
        # Later ones must not hear what this one hears.
        await ledger.pool.execute("UPDATE webhook_endpoints SET event_types = '{}' WHERE id = $1", usual)
        resting = await ledger.endpoint(every_brand=every_brand)
        await ledger.happens(1)
        await _rest(ledger, resting)
        drained = await ledger.endpoint(every_brand=every_brand)
        await ledger.pool.execute("UPDATE webhook_endpoints SET event_types = '{}' WHERE id = $1", resting)
        await ledger.happens(1)
        async with ledger.pool.acquire() as connection:
            await enable_endpoint(connection, drained, drain=Drain.DISCARD)
        await ledger.pool.execute("UPDATE webhook_endpoints SET event_types = '{}' WHERE id = $1", drained)
        for state, endpoint_id in ((DeliveryState.HELD, resting), (DeliveryState.DISCARDED, drained)):
            found[state].add(
                await ledger.pool.fetchval("SELECT id FROM deliveries WHERE endpoint_id = $1", endpoint_id)
            )
    return found


async def test_the_newest_come_first_and_pages_follow_one_another(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.endpoint()
    for _ in range(4):
        await ledger.happens(1)

    found = await _pages(ledger, limit=3)
    by_endpoint = await _pages(ledger, limit=2, endpoint_id=ledger.endpoints[1])

    ids = [delivery.id for delivery in found]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 8
    assert [delivery.sequence for delivery in by_endpoint] == [4, 3, 2, 1]
    assert (await _list(ledger, limit=8)).cursor is None


async def test_every_delivery_is_in_one_state_and_found_by_it(ledger: DeliveryLedger) -> None:
    expected = await _one_of_each(ledger)
    shown = {delivery.id: delivery.state for delivery in await _pages(ledger, limit=5)}

    assert shown == {delivery_id: state for state, ids in expected.items() for delivery_id in ids}
    for state in set(STATES) - {DeliveryState.DISCARDED}:
        found = await _pages(ledger, limit=1, state=state)
        assert {delivery.id for delivery in found} == expected[state], state
        assert {delivery.state for delivery in found} == {state}


async def test_what_is_being_discarded_is_found_when_the_ledger_says_so(ledger: DeliveryLedger) -> None:
    expected = await _one_of_each(ledger)
    await ledger.pool.execute(
        "WITH gone AS (DELETE FROM delivery_queue WHERE delivery_id = ANY($1::bigint []) RETURNING delivery_id) "
        "UPDATE deliveries SET state = 'discarded', reason = 'drained' FROM gone WHERE id = delivery_id",
        expected[DeliveryState.DISCARDED],
    )

    found = await _pages(ledger, limit=1, state=DeliveryState.DISCARDED)
    assert {delivery.id for delivery in found} == expected[DeliveryState.DISCARDED]


@pytest.mark.parametrize("state", [None, *STATES])
async def test_filters_narrow_every_list(ledger: DeliveryLedger, state: DeliveryState | None) -> None:
    await _one_of_each(ledger)
    (some, *_) = (await _list(ledger, state=state)).deliveries or (None,)
    if some is None:
        return
    wanted: dict[str, Any] = {"state": state, "endpoint_id": some.endpoint_id}
    kept: dict[str, Any]
    out: dict[str, Any]

    for kept in ({}, {"type": some.type}, {"occurred_from": some.occurred_at}):
        assert some.id in {each.id for each in (await _list(ledger, **wanted, **kept)).deliveries}
    for out in ({"type": "subscriber.bounced"}, {"occurred_until": some.occurred_at}, {"endpoint_id": 404}):
        assert some.id not in {each.id for each in (await _list(ledger, **{**wanted, **out})).deliveries}


@pytest.mark.parametrize("state", [None, *STATES])
async def test_a_brand_sees_nothing_of_another(
    ledger: DeliveryLedger, database: Database, state: DeliveryState | None
) -> None:
    await _one_of_each(ledger)
    other = await DeliveryLedger.create(database, slug="other")

    assert (await _list(other, state=state)).deliveries == ()
    assert (await _list(other, state=state, endpoint_id=ledger.endpoints[0])).deliveries == ()
    for delivery in (await _list(ledger)).deliveries:
        with pytest.raises(DeliveryNotFound):
            await show_delivery(ledger.pool, delivery.id, brand_id=other.brand_id)


async def test_of_an_accounts_endpoint_a_brand_sees_its_own_deliveries_only(ledger: DeliveryLedger) -> None:
    shared = await ledger.endpoint(every_brand=True)
    await ledger.pool.execute(
        "INSERT INTO brands (account_id, slug, name, opt_in_mode) VALUES ($1, 'sister', 's', 'single')",
        ledger.account_id,
    )
    sister = DeliveryLedger(
        pool=ledger.pool,
        account_id=ledger.account_id,
        brand_id=await ledger.pool.fetchval("SELECT id FROM brands WHERE slug = 'sister'"),
    )
    await ledger.happens(2)
    await sister.happens(1)

    for state in (None, DeliveryState.PENDING):
        assert len((await _list(ledger, state=state)).deliveries) == 2
        assert len((await _list(sister, state=state, endpoint_id=shared)).deliveries) == 1
    both = await list_deliveries(ledger.pool, DeliveryFilter(endpoint_id=shared))
    assert len(both.deliveries) == 3


async def _past(ledger: DeliveryLedger, *, every_brand: bool = False, count: int = 12_000) -> EndpointId:
    """An endpoint with a long past and as long a queue; the oldest of both are of a type of their own."""
    endpoint_id = await ledger.endpoint(every_brand=every_brand)
    await ledger.pool.execute(
        """
        INSERT INTO deliveries (
            occurred_at, event_id, endpoint_id, brand_id, sequence, type, state, attempts, finished_at
        )
        SELECT
            now() - make_interval(secs => ($3 - n)::float), gen_random_uuid(), $1, $2, n,
            CASE WHEN n % ($3 / 2) = 1 THEN 'subscriber.bounced' ELSE 'subscriber.confirmed' END,
            CASE WHEN n > $3 / 2 THEN 'pending' WHEN n = 1 THEN 'discarded' ELSE 'failed' END, 1, now()
        FROM generate_series(1, $3::int) AS n
        """,
        endpoint_id,
        ledger.brand_id,
        2 * count,
    )
    await ledger.pool.execute(
        "INSERT INTO delivery_queue (delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence, due_at) "
        "SELECT id, occurred_at, event_id, endpoint_id, brand_id, sequence, now() - make_interval(secs => sequence) "
        "FROM deliveries WHERE state = 'pending' AND endpoint_id = $1",
        endpoint_id,
    )
    await ledger.pool.execute(
        "INSERT INTO delivery_attempts (delivery_id, number, occurred_at, endpoint_id, trigger, outcome, started_at) "
        "SELECT id, 1, occurred_at, endpoint_id, 'automatic', 'failed', now() FROM deliveries "
        "WHERE state = 'failed' AND endpoint_id = $1",
        endpoint_id,
    )
    return endpoint_id


@pytest.mark.parametrize("of_endpoint", [True, False])
@pytest.mark.parametrize(
    "state", [None, DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.DISCARDED]
)
async def test_what_is_rare_is_found_page_by_page_and_no_page_looks_at_everything(
    ledger: DeliveryLedger, state: DeliveryState | None, of_endpoint: bool
) -> None:
    endpoints = [await _past(ledger), await _past(ledger, every_brand=True)]
    wanted: dict[str, Any] = {"state": state}
    if state is not DeliveryState.DISCARDED:
        wanted["type"] = "subscriber.bounced"
    if of_endpoint:
        wanted["endpoint_id"] = endpoints[1]
    found, pages, cursor = [], 0, None
    while pages == 0 or cursor is not None:
        page = await _list(ledger, limit=10, cursor=cursor, **wanted)
        found += [delivery.id for delivery in page.deliveries]
        pages, cursor = pages + 1, page.cursor

    expected = await ledger.pool.fetch(
        "SELECT id FROM deliveries WHERE endpoint_id = ANY($1::bigint []) AND ($2::text IS NULL OR state = $2) "
        "AND (type = 'subscriber.bounced' OR state = 'discarded')",
        endpoints[1:] if of_endpoint else endpoints,
        state,
    )
    assert sorted(found) == sorted(row["id"] for row in expected)
    assert pages > 1


async def test_of_anothers_endpoint_not_even_the_length_of_its_queue_is_told(
    ledger: DeliveryLedger, database: Database
) -> None:
    endpoint_id = await _past(ledger)
    other = await DeliveryLedger.create(database, slug="other")

    for state in (None, *STATES):
        page = await _list(other, state=state, endpoint_id=endpoint_id)
        assert (page.deliveries, page.cursor) == ((), None)


async def test_the_time_of_events_bounds_a_list_over_months(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    at = datetime.now(UTC)  # noqa: TID251 - the months of now have partitions
    for days in (0, 20, 40, 60):
        await ledger.happen(ledger.event(at=at - timedelta(days=days)))

    for wanted in ({}, {"endpoint_id": endpoint_id}, {"state": DeliveryState.PENDING}):
        page = await _list(
            ledger,
            occurred_from=at - timedelta(days=40),
            occurred_until=at - timedelta(days=20) + timedelta(seconds=1),
            **wanted,
        )
        assert sorted(delivery.sequence for delivery in page.deliveries) == [2, 3]


async def test_what_failed_and_was_sent_again_is_listed_once_and_by_its_last_end(
    ledger: DeliveryLedger,
) -> None:
    await ledger.endpoint()
    await ledger.happens(2)
    mended, hopeless = (await ledger.claim()).deliveries
    await ledger.record(failed(mended), failed(hopeless))
    for each, end in ((mended, delivered), (hopeless, failed)):
        await resend_delivery(ledger.pool, each.id)
        (again,) = (await ledger.claim()).deliveries
        await ledger.record(end(again))

    found = (await _list(ledger, state=DeliveryState.FAILED)).deliveries
    assert [(each.id, each.attempts) for each in found] == [(hopeless.id, 2)]


async def test_what_waits_is_listed_in_the_order_of_its_turn(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(3)
    first, second, third = (await ledger.claim()).deliveries
    await ledger.record(failed(first, again_in=90), failed(second, again_in=30), failed(third, again_in=60))

    found = await _pages(ledger, limit=1, state=DeliveryState.PENDING)
    assert [each.id for each in found] == [second.id, third.id, first.id]
    assert all(each.next_attempt_at is not None for each in found)


async def test_a_delivery_is_shown_with_every_attempt(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(1)
    (first,) = (await ledger.claim()).deliveries
    await ledger.record(failed(first, again_in=0, status_code=503, response_body="later"))
    (second,) = (await ledger.claim()).deliveries
    await ledger.record(delivered(second))
    report = await show_delivery(ledger.pool, first.id, brand_id=ledger.brand_id)

    assert (report.delivery.state, report.delivery.attempts) == (DeliveryState.DELIVERED, 2)
    assert report.body == b'{"it": "happened"}'
    assert [(each.number, each.outcome, each.status_code) for each in report.attempts] == [
        (1, "failed", 503),
        (2, "delivered", 200),
    ]
    assert report.attempts[0].response_body == "later"
    assert report.attempts[0].next_attempt_at is not None


async def test_of_attempts_without_end_the_newest_thousand_are_shown(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(1)
    (row,) = await ledger.deliveries()
    await ledger.pool.execute(
        "INSERT INTO delivery_attempts (delivery_id, number, occurred_at, endpoint_id, trigger, outcome, started_at) "
        "SELECT $1, n, $2, $3, 'manual', 'delivered', now() FROM generate_series(1, 1005) AS n",
        row["id"],
        row["occurred_at"],
        row["endpoint_id"],
    )

    attempts = (await show_delivery(ledger.pool, row["id"])).attempts
    assert [attempt.number for attempt in attempts] == list(range(6, 1006))


async def test_what_an_accounts_endpoint_exchanged_is_not_for_a_brand_to_see(ledger: DeliveryLedger) -> None:
    await ledger.endpoint(every_brand=True)
    await ledger.happens(1)
    (claimed,) = (await ledger.claim()).deliveries
    await ledger.record(failed(claimed, status_code=500, detail="HTTP 500", response_body="secret"))

    (to_brand,) = (await show_delivery(ledger.pool, claimed.id, brand_id=ledger.brand_id)).attempts
    (to_operator,) = (await show_delivery(ledger.pool, claimed.id)).attempts
    seen = (to_brand.detail, to_brand.request_head, to_brand.response_head, to_brand.response_body)
    assert seen == (None, None, None, None)
    assert (to_brand.status_code, to_operator.response_body) == (500, "secret")


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "!", "é", "====", "a" * 5000, "\x00"]
    + [
        _cursor(text)
        for text in (
            "i",
            "i-1",
            "i" + "9" * 19,
            "i\u0661",
            "s1",
            "w0,1,1",
            "w99999,1,1",
            f"w0,{'9' * 17},1",
            "l0,1",
        )
    ],
)
@pytest.mark.parametrize("state", [None, DeliveryState.LEASED])
async def test_a_cursor_of_something_else_is_refused(
    ledger: DeliveryLedger, cursor: str, state: DeliveryState | None
) -> None:
    with pytest.raises(BadCursor):
        await _list(ledger, state=state, cursor=cursor)


@pytest.fixture
async def crowded(ledger: DeliveryLedger) -> DeliveryLedger:
    """A brand with a long past and a long queue, among others of which the same holds."""
    await ledger.pool.execute(
        """
        INSERT INTO brands (account_id, slug, name, opt_in_mode)
        SELECT 1, 'brand-' || n, 'b', 'single' FROM generate_series(1, 49) AS n;
        INSERT INTO webhook_endpoints (account_id, brand_id, url, secret_sealed, event_types)
        SELECT 1, 1 + n % 50, 'https://receiver.example/', 'sealed', '{}' FROM generate_series(1, 200) AS n;
        INSERT INTO deliveries (occurred_at, event_id, endpoint_id, brand_id, sequence, type, state, attempts)
        SELECT
            now() - make_interval(mins => (n % 80000)::int), gen_random_uuid(), 1 + n % 200, 1 + (1 + n) % 50, n,
            'subscriber.confirmed',
            CASE WHEN n > 100000 THEN 'pending' WHEN n % 50 = 0 THEN 'failed' ELSE 'delivered' END, 1
        FROM generate_series(1, 150000) AS n;
        INSERT INTO delivery_queue (delivery_id, occurred_at, event_id, endpoint_id, brand_id, sequence)
        SELECT id, occurred_at, event_id, endpoint_id, brand_id, sequence FROM deliveries WHERE state = 'pending';
        UPDATE delivery_queue SET lease_token = gen_random_uuid() WHERE delivery_id % 1000 = 0;
        INSERT INTO delivery_attempts (delivery_id, number, occurred_at, endpoint_id, trigger, outcome, started_at)
        SELECT id, 1, occurred_at, endpoint_id, 'automatic', state, now() FROM deliveries WHERE state <> 'pending';
        INSERT INTO delivery_payloads (event_id, profile, occurred_at, brand_id, type, body)
        SELECT event_id, 'mailement', occurred_at, brand_id, type, '{}' FROM deliveries WHERE id % 5 = 0;
        """
    )
    await ledger.pool.execute("ANALYZE")
    return ledger


_STATEMENTS: list[tuple[str, str, tuple[Any, ...]]] = [
    *(
        (name, deed.SQL[name], arguments)
        for name, arguments in (
            ("newest_of_brand", (1, 2**62, None, None, None, None, 50, *_EVER, 10_000)),
            ("newest_of_brand", (1, 2**62, "delivered", None, None, None, 50, *_EVER, 10_000)),
            ("end_of_brand", (1, 2**62, *_EVER, 500)),
            ("newest_of_endpoint", (7, 2**62, None, None, None, None, 50, *_EVER, 10_000, 1)),
            ("end_of_endpoint", (7, 2**62, *_EVER, 500)),
            ("failed", ([7, 57], 2**62, None, None, None, 50, *_EVER, 500, 1)),
            ("ends_of_failed", ([7, 57], 2**62, *_EVER, 500)),
            ("waiting", ([7, 57], -1, _LONG_AGO, 0, None, None, None, 50, 500, 1)),
            ("ends_of_waiting", ([7, 57], -1, _LONG_AGO, 0, 500)),
            ("leased", (1, None, 0, None, None, None, 50, _LONG_AGO)),
            ("rows", ([1, 2, 3], [_LONG_AGO, _LONG_AGO, _LONG_AGO])),
        )
    ),
    ("pull", pull_events.SQL["pull"], (7, 100, 50)),
    ("explain", explain_delivery.SQL["facts"], (140_000, None, 1000)),
    ("show", show_delivery_deed.SQL["key"], (140_000, None)),
    ("attempts", show_delivery_deed.SQL["attempts"], (7, _LONG_AGO, 1000)),
    ("waiting of an endpoint", show_endpoint.SQL["more"], (7, 100_000)),
    ("last failure", show_endpoint.SQL["last_failure"], (7,)),
    ("answers", show_endpoint.SQL["answers_since"], (7, _LONG_AGO, 200)),
    ("counted replay", start_replay.SQL["count"], (7, None, None, None, None, 1_000_000)),
    ("resend", resend_deed.SQL["requeue"], (7, None)),
    ("remove", remove_payload.SQL["remove"], (7, None)),
]


@pytest.mark.parametrize("generic", [False, True])
async def test_what_is_looked_up_costs_an_index_range_and_not_the_ledger(
    crowded: DeliveryLedger, database: Database, generic: bool
) -> None:
    # Of a month without rows the planner reads the whole nothing.
    filled = await crowded.pool.fetch("SELECT relname FROM pg_class WHERE reltuples > 1000")
    read_whole = {}
    for name, statement, arguments in _STATEMENTS:
        connection = await connect(DatabaseSettings(database_url=database.url), name="test")
        found = await scans(connection, statement, *arguments, generic=generic)
        await connection.close()
        whole = {scan.table for scan in found if scan.kind == "Seq Scan"}
        read_whole[f"{name} {arguments}"] = whole & {row["relname"] for row in filled}

    assert {which: tables for which, tables in read_whole.items() if tables} == {}


async def _blocks(crowded: DeliveryLedger, statement: str, *arguments: Any) -> int:
    """Pages that the query touches when it is run."""
    plan = await crowded.pool.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments)
    (explained,) = orjson.loads(plan)
    blocks: int = explained["Plan"]["Shared Hit Blocks"] + explained["Plan"]["Shared Read Blocks"]
    return blocks


async def test_what_is_looked_up_touches_few_blocks(crowded: DeliveryLedger) -> None:
    touched = {
        f"{name} {arguments}": await _blocks(crowded, statement, *arguments)
        for name, statement, arguments in _STATEMENTS
    }
    assert {which: blocks for which, blocks in touched.items() if blocks > 1500} == {}
