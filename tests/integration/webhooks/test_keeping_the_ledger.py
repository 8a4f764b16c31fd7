"""The ledger is kept in months: made ahead of time, dropped by age."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from mailement_common.db.partitions import Family, Period
from mailement_webhooks.usecases.keep_ledger import tend_ledger
from tests.support.delivery_ledger import DeliveryLedger, delivered


async def _tend(ledger: DeliveryLedger, *, ledger_days: int = 90, payload_days: int = 30) -> None:
    async with ledger.pool.acquire() as connection:
        await tend_ledger(connection, ledger_days=ledger_days, payload_days=payload_days)


async def _partitions(ledger: DeliveryLedger, table: str) -> list[str]:
    rows = await ledger.pool.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass", table
    )
    return sorted(row["name"] for row in rows)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - partitions are those of the real time


async def test_this_month_and_the_next_stand_and_can_be_made_again(ledger: DeliveryLedger) -> None:
    await _tend(ledger)
    await _tend(ledger)

    now = _now()
    following = (now.replace(day=1) + timedelta(days=32)).replace(day=1)
    assert await _partitions(ledger, "deliveries") == [
        f"deliveries_{now:%Y%m}",
        f"deliveries_{following:%Y%m}",
        "deliveries_default",
    ]


async def test_what_found_no_month_moves_into_its_own_and_is_sent_all_the_same(
    ledger: DeliveryLedger,
) -> None:
    await ledger.endpoint()
    then = _now() - timedelta(days=50)
    await ledger.happen(ledger.event(at=then))
    (leased,) = (await ledger.claim()).deliveries

    await _tend(ledger, payload_days=90)
    await ledger.record(delivered(leased))

    (row,) = await ledger.deliveries()
    assert (row["state"], row["partition"]) == ("delivered", f"deliveries_{then:%Y%m}")
    assert await ledger.attempts(leased.id) == [(1, "automatic", "delivered")]
    options = await ledger.pool.fetchval(
        "SELECT reloptions FROM pg_class WHERE relname = $1", f"deliveries_{then:%Y%m}"
    )
    assert "fillfactor=80" in options


async def test_payloads_and_the_ledger_are_dropped_by_ages_of_their_own(ledger: DeliveryLedger) -> None:
    await ledger.endpoint()
    then = _now() - timedelta(days=75)
    await ledger.happen(ledger.event(at=then), ledger.event())
    await ledger.record(*(delivered(delivery) for delivery in (await ledger.claim()).deliveries))

    await _tend(ledger, ledger_days=120, payload_days=30)
    assert len(await ledger.deliveries()) == 2
    assert await ledger.pool.fetchval("SELECT count(*) FROM delivery_payloads") == 1

    await _tend(ledger, ledger_days=40, payload_days=30)
    assert len(await ledger.deliveries()) == 1
    assert await ledger.pool.fetchval("SELECT count(*) FROM delivery_attempts") == 1


async def test_what_is_sent_after_its_month_is_gone_is_still_taken_out_of_the_queue(
    ledger: DeliveryLedger,
) -> None:
    await ledger.endpoint()
    await ledger.happen(ledger.event(at=_now() - timedelta(days=200)))
    await _tend(ledger)

    (leased,) = (await ledger.claim()).deliveries
    assert leased.body is None
    assert await ledger.record(delivered(leased)) == {leased.id}

    assert await ledger.queued() == []


@pytest.mark.parametrize(
    ("period", "day", "name", "following"),
    [
        (Period.DAY, date(2024, 2, 29), "t_20240229", date(2024, 3, 1)),
        (Period.MONTH, date(2024, 1, 31), "t_202401", date(2024, 2, 1)),
        (Period.MONTH, date(2023, 12, 1), "t_202312", date(2024, 1, 1)),
    ],
)
def test_a_period_ends_where_the_next_begins(period: Period, day: date, name: str, following: date) -> None:
    family = Family(table="t", column="c", period=period, ahead=1)

    assert family.partition(day) == name
    assert family.next_first_day(day) == following
    assert family.first_day(following) == following
