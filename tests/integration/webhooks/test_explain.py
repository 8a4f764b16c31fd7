"""An explanation says what the ledger, the queue and the endpoint say together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailement_webhooks.deliveries import DeliveryState, Reason
from mailement_webhooks.errors import DeliveryNotFound
from mailement_webhooks.explanations import BlockerKind, Explanation
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.replays import ReplayFilter
from mailement_webhooks.rules.health import Health, HoldReason
from mailement_webhooks.settings import WebhookWaitSettings
from mailement_webhooks.usecases.advance_replays import advance_replays
from mailement_webhooks.usecases.explain_delivery import explain_delivery
from mailement_webhooks.usecases.pause_endpoint import pause_endpoint
from mailement_webhooks.usecases.reopen_expired import reopen_expired
from mailement_webhooks.usecases.save_health import save_health
from mailement_webhooks.usecases.start_replay import start_replay
from tests.support.database import Database
from tests.support.delivery_ledger import ALL_SHARDS, DeliveryLedger, delivered, failed

WAITS = WebhookWaitSettings()


async def _explain(ledger: DeliveryLedger, delivery_id: int) -> Explanation:
    return await explain_delivery(ledger.pool, DeliveryId(delivery_id), waits=WAITS, brand_id=ledger.brand_id)


def _kinds(explained: Explanation) -> list[BlockerKind]:
    return [blocker.kind for blocker in explained.blockers]


async def test_a_delivery_is_explained_from_its_arrival_to_its_end(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(1)
    ((delivery_id, *_),) = await ledger.queued()
    fresh = await _explain(ledger, delivery_id)
    (first,) = (await ledger.claim()).deliveries
    on_its_way = await _explain(ledger, delivery_id)
    await ledger.record(failed(first, again_in=90, status_code=503, detail="HTTP 503"))
    waiting = await _explain(ledger, delivery_id)
    await ledger.make_due()
    (second,) = (await ledger.claim()).deliveries
    await ledger.record(delivered(second))
    done = await _explain(ledger, delivery_id)

    assert (fresh.delivery.state, fresh.blockers) == (DeliveryState.PENDING, ())
    assert (on_its_way.delivery.state, _kinds(on_its_way)) == (DeliveryState.LEASED, [BlockerKind.UNDER_WAY])
    assert (waiting.delivery.state, _kinds(waiting)) == (DeliveryState.PENDING, [BlockerKind.NOT_DUE])
    assert waiting.next_attempt_at == waiting.delivery.next_attempt_at
    assert waiting.last_error is not None
    assert (waiting.last_error.status_code, waiting.last_error.detail) == (503, "HTTP 503")
    assert (done.delivery.state, done.blockers) == (DeliveryState.DELIVERED, ())


async def test_an_interruption_is_told_as_the_last_failure(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    await ledger.happens(1)
    (claimed,) = (await ledger.claim()).deliveries
    await ledger.end_leases()
    await reopen_expired(ledger.pool)

    explained = await _explain(ledger, claimed.id)
    assert explained.last_error is not None
    assert explained.last_error.reason is Reason.INTERRUPTED


async def test_all_that_stands_in_the_way_is_named(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint(ordered=True)
    await ledger.pool.execute("UPDATE webhook_endpoints SET rate_per_second = 1")
    await ledger.happens(3, subscriber=7)
    until = datetime.now(UTC) + timedelta(minutes=5)  # noqa: TID251 - compared with the database's clock
    resting = Health(
        consecutive_failures=10, breaker_trips=1, hold_until=until, hold_reason=HoldReason.BREAKER
    )
    async with ledger.pool.acquire() as connection:
        await save_health(connection, {endpoint_id: resting})
    await pause_endpoint(ledger.pool, endpoint_id)
    first, _, last = (row["delivery_id"] for row in await ledger.queued())
    explained = await _explain(ledger, last)

    assert _kinds(explained) == [
        BlockerKind.ENDPOINT_PAUSED,
        BlockerKind.BREAKER_OPEN,
        BlockerKind.EARLIER_OF_SUBSCRIBER,
        BlockerKind.OTHERS_AHEAD,
        BlockerKind.RATE_LIMIT,
    ]
    assert (explained.blockers[2].delivery_id, explained.blockers[3].count) == (first, 2)


async def test_what_waits_to_be_replayed_is_behind_what_is_live(ledger: DeliveryLedger) -> None:
    endpoint_id = await ledger.endpoint()
    await ledger.happens(1)
    (claimed,) = (await ledger.claim()).deliveries
    await ledger.record(delivered(claimed))
    await ledger.happens(2)
    await start_replay(ledger.pool, endpoint_id, ReplayFilter())
    await advance_replays(ledger.pool, shards=ALL_SHARDS, seconds=1)
    explained = await _explain(ledger, claimed.id)

    assert explained.delivery.state is DeliveryState.PENDING
    assert [(blocker.kind, blocker.count) for blocker in explained.blockers] == [
        (BlockerKind.OTHERS_AHEAD, 2)
    ]


async def test_what_an_accounts_endpoint_answered_is_not_for_a_brand_to_see(ledger: DeliveryLedger) -> None:
    await ledger.endpoint(every_brand=True)
    await ledger.happens(1)
    (claimed,) = (await ledger.claim()).deliveries
    await ledger.record(failed(claimed, detail="redirects to https://elsewhere.example/"))

    to_brand = await _explain(ledger, claimed.id)
    to_operator = await explain_delivery(ledger.pool, claimed.id, waits=WAITS)
    assert to_brand.last_error is not None
    assert to_operator.last_error is not None
    assert to_brand.last_error.detail is None
    assert to_operator.last_error.detail == "redirects to https://elsewhere.example/"


async def test_a_brand_is_explained_nothing_of_another(ledger: DeliveryLedger, database: Database) -> None:
    await ledger.endpoint()
    await ledger.happens(1)
    ((delivery_id, *_),) = await ledger.queued()
    other = await DeliveryLedger.create(database, slug="other")

    with pytest.raises(DeliveryNotFound):
        await _explain(other, delivery_id)
