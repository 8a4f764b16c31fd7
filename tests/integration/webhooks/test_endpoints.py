"""Endpoints: as many as a brand wants, and the short way to one URL per brand."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from mailement_common.ids import AccountId, BrandId
from mailement_common.sealing import KeyRing, new_key
from mailement_webhooks.endpoints import (
    MAILEMENT_EVENT_TYPES,
    Drain,
    Endpoint,
    EndpointState,
    Profile,
    RetryMode,
    StateReason,
)
from mailement_webhooks.errors import (
    EndpointNotFound,
    InvalidEndpoint,
    NoEndpoint,
    OwnerNotFound,
    SeveralEndpoints,
    TooManyEndpoints,
    UrlRefused,
)
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.rules.health import Health
from mailement_webhooks.secrets import secret_owner
from mailement_webhooks.usecases.create_endpoint import MOST_ENDPOINTS, NewEndpoint, create_endpoint
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint, delete_endpoints_of
from mailement_webhooks.usecases.discard_marked import discard_marked
from mailement_webhooks.usecases.enable_endpoint import enable_endpoint
from mailement_webhooks.usecases.list_endpoints import find_endpoint, list_endpoints, only_endpoint
from mailement_webhooks.usecases.pause_endpoint import pause_endpoint
from mailement_webhooks.usecases.save_health import save_health
from mailement_webhooks.usecases.set_endpoint import set_endpoint
from mailement_webhooks.usecases.show_endpoint import show_endpoint
from mailement_webhooks.usecases.update_endpoint import EndpointChanges, update_endpoint
from tests.support.database import Database
from tests.support.delivery_ledger import DeliveryLedger, failed

KEYS = KeyRing(new_key("test"))
URL = "https://receiver.example/hook"


async def _create(ledger: DeliveryLedger, **given: Any) -> Endpoint:
    made, _ = await create_endpoint(
        ledger.pool, KEYS, NewEndpoint(**{"url": URL, "brand_id": ledger.brand_id, **given}), guard=Guard()
    )
    return made


async def _set(ledger: DeliveryLedger, url: str = URL, **given: Any) -> tuple[Endpoint, str]:
    async with ledger.pool.acquire() as connection:
        return await set_endpoint(
            connection, KEYS, ledger.brand_id, ledger.account_id, url, guard=Guard(), **given
        )


async def _update(ledger: DeliveryLedger, endpoint_id: EndpointId, **changes: Any) -> Endpoint:
    async with ledger.pool.acquire() as connection:
        return await update_endpoint(connection, endpoint_id, EndpointChanges(**changes), guard=Guard())


async def _enable(
    ledger: DeliveryLedger, endpoint_id: EndpointId, drain: Drain = Drain.OLDEST_FIRST
) -> Endpoint:
    async with ledger.pool.acquire() as connection:
        return await enable_endpoint(connection, endpoint_id, drain=drain)


async def _ail(ledger: DeliveryLedger, endpoint_id: EndpointId) -> None:
    async with ledger.pool.acquire() as connection:
        await save_health(
            connection, {endpoint_id: Health(consecutive_failures=12, breaker_trips=2, told=25)}
        )


async def test_the_secret_is_shown_once_and_stored_sealed(ledger: DeliveryLedger) -> None:
    new = NewEndpoint(url=URL, brand_id=ledger.brand_id)
    endpoint, secret = await create_endpoint(ledger.pool, KEYS, new, guard=Guard())

    stored = await ledger.pool.fetchval("SELECT secret_sealed FROM webhook_endpoints")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert secret not in stored
    assert KEYS.open(stored, owner=secret_owner(endpoint.id)) == secret


async def test_a_new_endpoint_hears_what_the_document_lists_and_retries(ledger: DeliveryLedger) -> None:
    made = await _create(ledger)

    assert (made.profile, made.event_types) == (Profile.MAILEMENT, MAILEMENT_EVENT_TYPES)
    assert (made.state, made.retries, made.ordered) == (EndpointState.ENABLED, RetryMode.SCHEDULE, False)
    assert (made.account_id, made.brand_id) == (ledger.account_id, ledger.brand_id)


async def test_everything_can_be_said_when_it_is_made(ledger: DeliveryLedger) -> None:
    made = await _create(
        ledger,
        profile=Profile.MAILY,
        event_types=("endpoint.failing", "subscriber.created", "subscriber.created"),
        description="  the old shop ",
        retries=RetryMode.ONCE,
        ordered=True,
        max_in_flight=3,
        rate_per_second=0.5,
    )

    assert made.event_types == ("subscriber.created", "endpoint.failing")
    assert (made.description, made.retries, made.ordered) == ("the old shop", RetryMode.ONCE, True)
    assert (made.max_in_flight, made.rate_per_second) == (3, 0.5)


async def test_an_account_has_endpoints_for_all_its_brands(ledger: DeliveryLedger) -> None:
    made = await _create(ledger, brand_id=None, account_id=ledger.account_id)

    assert (made.account_id, made.brand_id) == (ledger.account_id, None)
    assert await list_endpoints(ledger.pool, brand_id=ledger.brand_id) == []
    assert await list_endpoints(ledger.pool, account_id=ledger.account_id) == [made]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"event_types": ()}, "event_types"),
        ({"event_types": ("subscriber.created",)}, "event_types"),
        ({"description": "x" * 201}, "description"),
        ({"description": "a\nb"}, "description"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"max_in_flight": 1001}, "max_in_flight"),
        ({"rate_per_second": 0.0}, "rate_per_second"),
        ({"rate_per_second": 1e-300}, "rate_per_second"),
        ({"rate_per_second": float("nan")}, "rate_per_second"),
        ({"rate_per_second": float("inf")}, "rate_per_second"),
    ],
)
async def test_what_an_endpoint_cannot_have_is_refused_by_name(
    ledger: DeliveryLedger, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidEndpoint) as refused:
        await _create(ledger, **given)
    endpoint = await _create(ledger)
    with pytest.raises(InvalidEndpoint) as refused_later:
        await _update(ledger, endpoint.id, **given)

    assert refused.value.field == refused_later.value.field == field
    assert await list_endpoints(ledger.pool) == [endpoint]


async def test_a_url_that_cannot_be_a_target_is_refused_and_changes_nothing(ledger: DeliveryLedger) -> None:
    endpoint, _ = await _set(ledger)

    for attempt in (
        _create(ledger, url="http://127.0.0.1/"),
        _set(ledger, "http://127.0.0.1/"),
        _update(ledger, endpoint.id, url="http://127.0.0.1/"),
    ):
        with pytest.raises(UrlRefused, match="loopback"):
            await attempt
    assert await list_endpoints(ledger.pool) == [endpoint]


async def test_only_what_exists_can_own_an_endpoint(ledger: DeliveryLedger) -> None:
    await ledger.pool.execute("UPDATE brands SET deleted_at = now()")

    for owner in (
        {"brand_id": ledger.brand_id},
        {"brand_id": BrandId(404)},
        {"brand_id": None, "account_id": AccountId(404)},
        {"brand_id": None},
    ):
        with pytest.raises(OwnerNotFound):
            await _create(ledger, **owner)


async def test_a_brand_has_at_most_fifty_endpoints(ledger: DeliveryLedger) -> None:
    made = [await _create(ledger) for _ in range(MOST_ENDPOINTS)]
    with pytest.raises(TooManyEndpoints):
        await _create(ledger)

    await delete_endpoint(ledger.pool, made[0].id)
    await _create(ledger)
    await _create(ledger, brand_id=None, account_id=ledger.account_id)


async def test_setting_makes_one_endpoint_and_then_replaces_url_and_secret(ledger: DeliveryLedger) -> None:
    first, old = await _set(ledger)
    second, new = await _set(ledger, "https://receiver.example/new")

    assert (second.id, second.url) == (first.id, "https://receiver.example/new")
    assert new != old
    assert await list_endpoints(ledger.pool) == [second]


async def test_setting_again_enables_and_keeps_what_else_was_said(ledger: DeliveryLedger) -> None:
    first, _ = await _set(ledger, retries=RetryMode.ONCE)
    await _update(ledger, first.id, event_types=("subscriber.bounced",), max_in_flight=2)
    await pause_endpoint(ledger.pool, first.id)
    await _ail(ledger, first.id)

    again, _ = await _set(ledger)

    assert (again.state, again.state_reason) == (EndpointState.ENABLED, None)
    assert (again.retries, again.event_types, again.max_in_flight) == (
        RetryMode.ONCE,
        ("subscriber.bounced",),
        2,
    )
    assert (await show_endpoint(ledger.pool, first.id)).health == Health(fresh_starts=1)
    assert (await _set(ledger, retries=RetryMode.SCHEDULE))[0].retries is RetryMode.SCHEDULE


async def test_of_several_endpoints_setting_replaces_none(ledger: DeliveryLedger) -> None:
    made = [await _create(ledger), await _create(ledger)]

    with pytest.raises(SeveralEndpoints):
        await _set(ledger, f"{URL}/new")
    assert await list_endpoints(ledger.pool) == made
    with pytest.raises(EndpointNotFound):
        await _set(ledger, f"{URL}/new", endpoint_id=EndpointId(404))
    meant, _ = await _set(ledger, f"{URL}/new", endpoint_id=made[1].id)
    assert await list_endpoints(ledger.pool) == [made[0], meant]


async def test_what_is_deleted_while_it_is_set_stays_deleted(ledger: DeliveryLedger) -> None:
    first, _ = await _set(ledger)

    async with ledger.pool.acquire() as connection:
        async with connection.transaction():
            await delete_endpoint(connection, first.id)
            setting = asyncio.create_task(_set(ledger, f"{URL}/new"))
            await _until_somebody_waits_for_a_lock(ledger)
        second, _ = await setting

    assert second.id != first.id
    assert await list_endpoints(ledger.pool) == [second]


async def _until_somebody_waits_for_a_lock(ledger: DeliveryLedger) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while not await ledger.pool.fetchval(waiting):
            await asyncio.sleep(0.01)


async def test_operators_who_set_at_once_make_one_endpoint(ledger: DeliveryLedger) -> None:
    await asyncio.gather(*(_set(ledger, f"{URL}/{number}") for number in range(8)))

    assert len(await list_endpoints(ledger.pool)) == 1


async def test_a_change_keeps_what_it_does_not_name(ledger: DeliveryLedger) -> None:
    made = await _create(ledger, description="shop", max_in_flight=3)
    changed = await _update(ledger, made.id, ordered=True, description=None)

    assert (changed.ordered, changed.description) == (True, None)
    assert (changed.max_in_flight, changed.url, changed.retries) == (3, made.url, made.retries)
    assert changed.version > made.version


async def test_a_change_to_what_is_so_already_rewrites_nothing(ledger: DeliveryLedger) -> None:
    made = await _create(ledger, description="shop")

    assert (
        await _update(ledger, made.id, url=made.url, description=" shop ", event_types=made.event_types)
        == made
    )


async def test_a_new_url_starts_without_the_failures_of_the_old(ledger: DeliveryLedger) -> None:
    made = await _create(ledger)
    await _ail(ledger, made.id)

    await _update(ledger, made.id, ordered=True)
    assert (await show_endpoint(ledger.pool, made.id)).health.consecutive_failures == 12
    await _update(ledger, made.id, url="https://receiver.example/new")
    assert (await show_endpoint(ledger.pool, made.id)).health == Health(fresh_starts=1)


async def test_a_paused_endpoint_holds_and_an_enabled_one_starts_afresh(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    paused = await pause_endpoint(ledger.pool, endpoint_id)
    await _ail(ledger, endpoint_id)
    await ledger.happens(2)
    held = await ledger.claim()
    enabled = await _enable(ledger, endpoint_id)

    assert (paused.state, paused.state_reason) == (EndpointState.PAUSED, StateReason.BY_OPERATOR)
    assert held.deliveries == []
    assert (enabled.state, enabled.state_reason) == (EndpointState.ENABLED, None)
    assert (await show_endpoint(ledger.pool, endpoint_id)).health == Health(fresh_starts=1)
    assert len((await ledger.claim()).deliveries) == 2


async def test_pausing_leaves_a_disabled_endpoint_as_it_is(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.pool.execute("UPDATE webhook_endpoints SET state = 'disabled', state_reason = 'gone'")

    found = await pause_endpoint(ledger.pool, endpoint_id)
    assert (found.state, found.state_reason) == (EndpointState.DISABLED, StateReason.GONE)


@pytest.mark.parametrize(
    ("drain", "sent"),
    [(Drain.OLDEST_FIRST, [1, 2, 3]), (Drain.NEWEST_ONLY, [3]), (Drain.DISCARD, [])],
)
async def test_what_was_held_is_drained_as_it_is_said(
    ledger: DeliveryLedger, drain: Drain, sent: list[int]
) -> None:
    endpoint_id = await ledger.endpoint()
    await pause_endpoint(ledger.pool, endpoint_id)
    await ledger.happens(3)
    await _enable(ledger, endpoint_id, drain)
    await ledger.happens(1)

    claimed = (await ledger.claim()).deliveries
    async with ledger.pool.acquire() as connection:
        await discard_marked(connection, 100)

    assert sorted(delivery.sequence for delivery in claimed) == [*sent, 4]
    discarded = [
        (row["sequence"], row["reason"]) for row in await ledger.deliveries() if row["state"] == "discarded"
    ]
    assert discarded == [(number, "drained") for number in (1, 2, 3) if number not in sent]


async def test_enabling_announces_what_waits(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    told: asyncio.Queue[str] = asyncio.Queue()

    def hear(*call: Any) -> None:
        told.put_nowait(call[3])

    async with ledger.pool.acquire() as connection:
        await connection.add_listener("webhook_due", hear)
        await _enable(ledger, endpoint_id)
        async with asyncio.timeout(10):
            assert await told.get() == str(endpoint_id)
        await connection.remove_listener("webhook_due", hear)


async def test_a_deleted_endpoint_is_not_found_by_anybody(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(1)
    await delete_endpoint(ledger.pool, endpoint_id)
    async with ledger.pool.acquire() as connection:
        await discard_marked(connection, 100)

    assert [(row["state"], row["reason"]) for row in await ledger.deliveries()] == [
        ("discarded", "endpoint_deleted")
    ]
    assert await list_endpoints(ledger.pool) == []
    for deed in (
        find_endpoint(ledger.pool, endpoint_id),
        show_endpoint(ledger.pool, endpoint_id),
        pause_endpoint(ledger.pool, endpoint_id),
        _enable(ledger, endpoint_id),
        _update(ledger, endpoint_id, ordered=True),
        delete_endpoint(ledger.pool, endpoint_id),
    ):
        with pytest.raises(EndpointNotFound):
            await deed


async def test_a_brands_endpoints_go_with_it_and_those_of_others_stay(
    ledger: DeliveryLedger, database: Database
) -> None:
    other = await DeliveryLedger.create(database, slug="other")
    theirs, ours = await other.endpoint(), await ledger.endpoint(every_brand=True)
    await ledger.endpoint()
    await ledger.endpoint()

    assert await delete_endpoints_of(ledger.pool, ledger.brand_id) == 2
    assert [endpoint.id for endpoint in await list_endpoints(ledger.pool)] == [theirs, ours]


async def test_the_only_endpoint_is_the_one_that_is_meant(ledger: DeliveryLedger) -> None:
    with pytest.raises(NoEndpoint):
        await only_endpoint(ledger.pool, ledger.brand_id)
    first = await ledger.endpoint()
    assert (await only_endpoint(ledger.pool, ledger.brand_id)).id == first
    second = await ledger.endpoint()
    with pytest.raises(SeveralEndpoints) as several:
        await only_endpoint(ledger.pool, ledger.brand_id)
    assert several.value.endpoint_ids == (first, second)


async def test_a_brand_reaches_no_endpoint_of_another_nor_of_its_account(
    ledger: DeliveryLedger, database: Database
) -> None:
    other = await DeliveryLedger.create(database, slug="other")
    for endpoint_id in (await other.endpoint(), await ledger.endpoint(every_brand=True)):
        before = await find_endpoint(ledger.pool, endpoint_id)
        async with ledger.pool.acquire() as connection:
            for deed in (
                find_endpoint(connection, endpoint_id, brand_id=ledger.brand_id),
                show_endpoint(connection, endpoint_id, brand_id=ledger.brand_id),
                pause_endpoint(connection, endpoint_id, brand_id=ledger.brand_id),
                enable_endpoint(connection, endpoint_id, brand_id=ledger.brand_id),
                delete_endpoint(connection, endpoint_id, brand_id=ledger.brand_id),
                update_endpoint(
                    connection,
                    endpoint_id,
                    EndpointChanges(ordered=True),
                    guard=Guard(),
                    brand_id=ledger.brand_id,
                ),
            ):
                with pytest.raises(EndpointNotFound):
                    await deed
        assert await find_endpoint(ledger.pool, endpoint_id) == before


async def test_a_report_tells_how_deliveries_fare(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(5)
    first, second, *_ = (await ledger.claim(room=3)).deliveries
    await ledger.record(
        failed(first, status_code=500, detail="HTTP 500"), failed(second, again_in=30, status_code=500)
    )
    report = await show_endpoint(ledger.pool, endpoint_id)

    assert (report.waiting, report.under_way) == (3, 1)
    assert (report.delivered, report.failed, report.discarded) == (0, 1, 0)
    assert report.last_failure is not None
    assert (report.last_failure.delivery_id, report.last_failure.status_code) == (first.id, 500)
    assert (report.resting_until, report.resting_because) == (None, None)
