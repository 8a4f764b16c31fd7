from __future__ import annotations

from datetime import date, timedelta

import asyncpg

from mailement_common.outbox.event_log import drop_partitions, make_partitions
from tests.support.database import Database


async def _partitions(database: Database) -> set[str]:
    rows = await database.pool.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'event_log'::regclass"
    )
    return {row["name"] for row in rows}


async def _today(database: Database) -> date:
    today: date = await database.pool.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
    return today


def _name(day: date) -> str:
    return f"event_log_{day:%Y%m%d}"


async def _keep(database: Database, *, keep_days: int = 14) -> None:
    async with database.pool.acquire() as connection:
        await make_partitions(connection)
        await drop_partitions(connection, keep_days=keep_days)


async def _make(database: Database, day: date) -> None:
    until = day + timedelta(days=1)
    await database.pool.execute(
        f"CREATE TABLE {_name(day)} PARTITION OF event_log FOR VALUES FROM ('{day}') TO ('{until}')"
    )


async def _log(database: Database) -> None:
    await database.pool.execute(
        "INSERT INTO event_log (event_id, type, brand_id, data, occurred_at) "
        "VALUES (gen_random_uuid(), 't', 1, '{}', now())"
    )


async def test_the_coming_week_is_made_and_can_be_made_again(database: Database) -> None:
    await _keep(database)
    await _keep(database)

    today = await _today(database)
    week = {_name(today + timedelta(days=ahead)) for ahead in range(7)}
    assert week <= await _partitions(database)
    assert "event_log_default" in await _partitions(database)


async def test_what_is_published_lands_in_the_day_s_partition(database: Database) -> None:
    await _keep(database)
    await _log(database)

    row = await database.pool.fetchrow(
        "SELECT tableoid::regclass::text AS partition, (published_at AT TIME ZONE 'UTC')::date AS day FROM event_log"
    )
    assert row is not None
    assert row["partition"] == _name(row["day"])


async def test_what_is_older_than_it_is_kept_is_dropped(database: Database) -> None:
    today = await _today(database)
    for days in (3, 4, 40):
        await _make(database, today - timedelta(days=days))

    await _keep(database, keep_days=3)

    kept = await _partitions(database)
    assert _name(today - timedelta(days=3)) in kept
    assert _name(today - timedelta(days=4)) not in kept
    assert _name(today - timedelta(days=40)) not in kept
    assert "event_log_default" in kept


async def test_events_of_a_day_that_was_missed_move_into_its_partition(database: Database) -> None:
    await _log(database)  # into the default partition, there being no other

    await _keep(database)

    today = await _today(database)
    assert {_name(today), _name(today + timedelta(days=6)), "event_log_default"} <= await _partitions(
        database
    )
    assert await database.pool.fetchval(f"SELECT count(*) FROM {_name(today)}") == 1
    assert await database.pool.fetchval("SELECT count(*) FROM event_log") == 1


async def test_events_that_found_no_partition_are_dropped_by_age_as_well(database: Database) -> None:
    await database.pool.execute(
        "INSERT INTO event_log (event_id, type, brand_id, data, occurred_at, published_at) "
        "VALUES (gen_random_uuid(), 't', 1, '{}', now(), now() - interval '400 days')"
    )

    await _keep(database, keep_days=30)

    assert await database.pool.fetchval("SELECT count(*) FROM event_log") == 0


async def test_a_table_that_is_busy_is_left_for_the_next_time(database: Database) -> None:
    async with database.pool.acquire() as busy, busy.transaction():
        await busy.execute("LOCK TABLE event_log IN SHARE ROW EXCLUSIVE MODE")
        await _keep(database)

    assert await _partitions(database) == {"event_log_default"}


async def test_two_at_once_do_not_stand_in_each_other_s_way(database: Database) -> None:
    async with database.pool.acquire() as other, other.transaction():
        await other.fetchval("SELECT pg_try_advisory_xact_lock($1)", 0x7061727469746E73)
        await _keep(database)
        assert await _partitions(database) == {"event_log_default"}

    await _keep(database)
    assert len(await _partitions(database)) >= 8


async def test_a_full_log_can_be_read_across_its_partitions(database: Database) -> None:
    today = await _today(database)
    await _make(database, today - timedelta(days=1))
    await _keep(database)
    await database.pool.execute(
        "INSERT INTO event_log (event_id, type, brand_id, data, occurred_at, published_at) "
        "SELECT gen_random_uuid(), 't', 1, '{}', now(), now() - interval '1 day' * n FROM generate_series(0, 1) AS n"
    )

    rows: list[asyncpg.Record] = await database.pool.fetch(
        "SELECT DISTINCT tableoid::regclass::text AS partition FROM event_log"
    )
    assert len(rows) == 2
