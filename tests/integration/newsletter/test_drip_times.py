"""Windows, moments, zones and dates: when a step is due, also over the change of clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailement_newsletter.catalog.brands import update_brand
from mailement_newsletter.errors import InvalidName
from mailement_newsletter.usecases.advance_drips import advance_drips
from mailement_newsletter.usecases.work_drip_jobs import work_drip_job
from tests.support.brands import Tenant
from tests.support.database import Database
from tests.support.drips import DAY, HOUR, NOON, Series, Step, clock, mail, tell_the_scheduler

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia")
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)


async def _next_in_window(
    database: Database,
    moment: datetime,
    zone: str,
    opens: time,
    closes: time,
    days: tuple[int, ...] = EVERY_DAY,
) -> datetime:
    found: datetime = await database.pool.fetchval(
        "SELECT next_in_window($1, $2, $3, $4, $5::smallint[])", moment, zone, opens, closes, list(days)
    )
    return found


def _moment_of(day: date, hour: time, zone: str) -> datetime:
    """As PostgreSQL reads a local time: by the clock of before where the hour is left out, of afterwards where it comes twice."""
    later = datetime.combine(day, hour, ZoneInfo(zone)).replace(fold=1)
    exists = later.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == later.replace(
        tzinfo=None
    )
    return (later if exists else later.replace(fold=0)).astimezone(UTC)


def _in_window(moment: datetime, zone: str, opens: time, closes: time, days: tuple[int, ...]) -> bool:
    """By the standard library: is one of the windows of this or the day before open at the moment?"""
    local = moment.astimezone(ZoneInfo(zone))
    for back in (0, 1):
        day = local.date() - timedelta(days=back)
        starts = _moment_of(day, opens, zone)
        ends = _moment_of(day + timedelta(days=1) if closes <= opens else day, closes, zone)
        if day.isoweekday() in days and starts <= moment < ends:
            return True
    return False


# Of each zone, moments at which its clocks change; in Apia and Kolkata and by UTC they do not any more.
CHANGES = {
    "UTC": [datetime(2027, 3, 28, 1, tzinfo=UTC)],
    "Europe/Berlin": [datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)],
    "America/New_York": [datetime(2027, 3, 14, 7, tzinfo=UTC), datetime(2027, 11, 7, 6, tzinfo=UTC)],
    "Asia/Kolkata": [datetime(2027, 3, 28, 1, tzinfo=UTC)],
    # Half an hour, at two in the night.
    "Australia/Lord_Howe": [datetime(2027, 4, 3, 15, tzinfo=UTC), datetime(2027, 10, 2, 15, 30, tzinfo=UTC)],
    "Pacific/Apia": [datetime(2027, 4, 3, 14, tzinfo=UTC)],
}
quarter_hours = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))
at_night = st.builds(time, st.integers(1, 3), st.sampled_from([0, 15, 30, 45]))
any_moment = st.tuples(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31)).map(  # noqa: DTZ001
        lambda naive: naive.replace(microsecond=0, tzinfo=UTC)
    ),
)
around_a_change = st.sampled_from(ZONES).flatmap(
    lambda zone: st.tuples(
        st.just(zone),
        st.builds(
            lambda change, minutes: change + timedelta(minutes=minutes),
            st.sampled_from(CHANGES[zone]),
            st.integers(-36 * 60, 6 * 60),
        ),
    )
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=any_moment | around_a_change,
    opens=quarter_hours | at_night,
    closes=quarter_hours | at_night,
    days=st.sets(st.integers(1, 7), min_size=1).map(lambda found: tuple(sorted(found))),
)
# In Berlin half past two to three is left out in March, and comes twice in October.
@example(
    where=("Europe/Berlin", datetime(2027, 3, 27, 12, tzinfo=UTC)),
    opens=clock(2, 30),
    closes=clock(3),
    days=(7,),
)
@example(
    where=("Europe/Berlin", datetime(2027, 3, 21, 12, tzinfo=UTC)), opens=clock(2), closes=clock(3), days=(7,)
)
@example(
    where=("Europe/Berlin", datetime(2027, 10, 30, 12, tzinfo=UTC)),
    opens=clock(2, 15),
    closes=clock(2, 45),
    days=EVERY_DAY,
)
async def test_a_window_s_next_moment_lies_in_it_and_none_before_does(
    database: Database,
    where: tuple[str, datetime],
    opens: time,
    closes: time,
    days: tuple[int, ...],
) -> None:
    zone, moment = where
    found = await _next_in_window(database, moment, zone, opens, closes, days)
    assert found >= moment
    assert _in_window(found, zone, opens, closes, days)
    probe = moment
    while probe < found and probe < moment + 3 * DAY:
        assert not _in_window(probe, zone, opens, closes, days), probe
        probe += timedelta(minutes=15) - timedelta(minutes=probe.minute % 15, seconds=probe.second)


async def test_a_window_within_the_hour_that_is_left_out_does_not_open(database: Database) -> None:
    """In Berlin there was nothing between two and three in the night to the 28th of March 2027, a Sunday."""
    before = datetime(2027, 3, 27, 12, tzinfo=BERLIN)
    for days, expected in ((EVERY_DAY, 29), ((7,), 28 + 7)):
        found = await _next_in_window(database, before, "Europe/Berlin", clock(2, 30), clock(3), days)
        assert found == datetime(2027, 3, 1, 2, 30, tzinfo=BERLIN) + timedelta(days=expected - 1)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        # Open from 22:00 to 06:00, over midnight.
        (datetime(2027, 1, 12, 21, tzinfo=BERLIN), datetime(2027, 1, 12, 22, tzinfo=BERLIN)),
        (datetime(2027, 1, 12, 23, tzinfo=BERLIN), datetime(2027, 1, 12, 23, tzinfo=BERLIN)),
        (datetime(2027, 1, 13, 5, 59, tzinfo=BERLIN), datetime(2027, 1, 13, 5, 59, tzinfo=BERLIN)),
        (datetime(2027, 1, 13, 6, tzinfo=BERLIN), datetime(2027, 1, 13, 22, tzinfo=BERLIN)),
    ],
)
async def test_a_window_over_midnight(database: Database, moment: datetime, expected: datetime) -> None:
    assert await _next_in_window(database, moment, "Europe/Berlin", clock(22), clock(6)) == expected


async def test_the_night_of_a_window_belongs_to_the_day_on_which_it_opens(database: Database) -> None:
    friday_night = datetime(2027, 1, 16, 2, tzinfo=BERLIN)
    assert (
        await _next_in_window(database, friday_night, "Europe/Berlin", clock(22), clock(6), (5,))
        == friday_night
    )
    assert await _next_in_window(
        database, friday_night, "Europe/Berlin", clock(22), clock(6), (6,)
    ) == datetime(2027, 1, 16, 22, tzinfo=BERLIN)


async def test_an_hour_that_does_not_exist_opens_when_it_would_have(database: Database) -> None:
    """In Berlin there was no half past two in the night to the 28th of March 2027."""
    before = datetime(2027, 3, 28, 0, tzinfo=BERLIN)
    found = await _next_in_window(database, before, "Europe/Berlin", clock(2, 30), clock(9))
    assert found == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)


async def test_a_mail_waits_for_the_window_of_its_brand(brand: Tenant) -> None:
    await brand.pool.execute("UPDATE brands SET timezone = 'Europe/Berlin'")
    series = await Series.create(
        brand, mail("a"), mail("b", HOUR), window_start=clock(9), window_end=clock(17)
    )
    await series.enroll(await brand.subscriber())
    series.now = datetime(2031, 5, 1, 14, 30, tzinfo=UTC)
    await series.tick()
    # An hour later it is half past five in Berlin.
    assert (await series.run())["next_run_at"] == datetime(2031, 5, 2, 9, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("America/New_York", datetime(2031, 5, 1, 9, tzinfo=ZoneInfo("America/New_York"))),
        ("Europe/Kiev", datetime(2031, 5, 2, 9, tzinfo=ZoneInfo("Europe/Kyiv"))),
        ("Mars/Olympus", datetime(2031, 5, 2, 9, tzinfo=BERLIN)),
        (None, datetime(2031, 5, 2, 9, tzinfo=BERLIN)),
    ],
)
async def test_a_mail_waits_for_the_window_of_its_subscriber_or_else_of_the_brand(
    brand: Tenant, own: str | None, expected: datetime
) -> None:
    await brand.pool.execute("UPDATE brands SET timezone = 'Europe/Berlin'")
    await brand.field("timezone")
    series = await Series.create(
        brand, mail("a"), mail("b"), zone="subscriber", window_start=clock(9), window_end=clock(12)
    )
    await series.enroll(await brand.subscriber(custom_fields={} if own is None else {"timezone": own}))
    series.now = NOON
    await brand.pool.execute("UPDATE drip_enrollments SET next_run_at = $1", NOON)
    await advance_drips(brand.pool, now=NOON, behind=0, batch=10)
    assert (await series.run())["next_run_at"] == expected


async def test_who_moves_to_another_zone_gets_his_next_mail_by_its_hours(brand: Tenant) -> None:
    await brand.field("timezone")
    series = await Series.create(
        brand, mail("a", 400 * DAY), zone="subscriber", window_start=clock(9), window_end=clock(10)
    )
    subscriber = await brand.subscriber(custom_fields={"timezone": "Europe/Berlin"})
    await series.enroll(subscriber)
    await tell_the_scheduler(brand)
    before = (await series.run())["next_run_at"].astimezone(BERLIN)
    await brand.pool.execute(
        "UPDATE subscribers SET custom_fields = $2 WHERE id = $1", subscriber, {"timezone": "Asia/Kolkata"}
    )
    await brand.subscriber(first_name="Ada")
    await tell_the_scheduler(brand)
    after = (await series.run())["next_run_at"].astimezone(ZoneInfo("Asia/Kolkata"))
    assert (before.hour, after.hour) == (9, 9)


async def test_a_brand_that_moves_to_another_zone_takes_its_drips_along(brand: Tenant) -> None:
    series = await Series.create(brand, mail("a", 400 * DAY), window_start=clock(9), window_end=clock(10))
    await series.enroll(await brand.subscriber())
    async with brand.pool.acquire() as connection:
        changed = await update_brand(connection, brand.brand, timezone="europe/berlin")
    assert changed.timezone == "Europe/Berlin"
    while await work_drip_job(brand.pool, now=series.now, size=100):
        pass
    assert (await series.run())["next_run_at"].astimezone(BERLIN).hour == 9


async def test_what_is_no_time_zone_is_refused(brand: Tenant) -> None:
    async with brand.pool.acquire() as connection:
        with pytest.raises(InvalidName, match="no time zone"):
            await update_brand(connection, brand.brand, timezone="Mars/Olympus")


async def test_only_mails_wait_for_a_window(brand: Tenant) -> None:
    topic = await brand.topic("one")
    series = await Series.create(
        brand, Step(kind="add_topic", topic=topic), mail("a"), window_start=clock(3), window_end=clock(4)
    )
    await series.enroll(await brand.subscriber())
    await series.tick()
    assert (await brand.row())["topic_ids"] == [topic]
    assert await series.subjects() == []


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"date": "2031-05-10", "time": "08:30"}, datetime(2031, 5, 10, 8, 30, tzinfo=BERLIN)),
        ({"date": "2031-04-10", "time": "08:30"}, NOON),
        ({"date": "9999-12-31", "time": "23:59"}, datetime(2999, 12, 31, 23, 59, tzinfo=BERLIN)),
        ({"time": "13:00"}, datetime(2031, 5, 2, 13, tzinfo=BERLIN)),
        ({"time": "15:00"}, datetime(2031, 5, 1, 15, tzinfo=BERLIN)),
        ({"weekdays": [1], "time": "07:00"}, datetime(2031, 5, 5, 7, tzinfo=BERLIN)),
        ({"weekdays": [4], "time": "13:59"}, datetime(2031, 5, 8, 13, 59, tzinfo=BERLIN)),
        ({"weekdays": [4, 6], "time": "23:00"}, datetime(2031, 5, 1, 23, tzinfo=BERLIN)),
    ],
    ids=str,
)
async def test_waiting_until_a_date_a_weekday_or_a_time(
    brand: Tenant, params: dict[str, object], expected: datetime
) -> None:
    """From Thursday, two o'clock in the afternoon in Berlin."""
    await brand.pool.execute("UPDATE brands SET timezone = 'Europe/Berlin'")
    series = await Series.create(brand, Step(kind="delay"), Step(kind="wait_until", params=params), mail("a"))
    await series.enroll(await brand.subscriber())
    await advance_drips(brand.pool, now=NOON, behind=0, batch=10)
    assert (await series.run())["next_run_at"] == expected


# Date triggers.


async def _birthdays(brand: Tenant, *, days: int = 0, yearly: bool = True) -> Series:
    await brand.field("birthday")
    series = await Series.create(
        brand,
        mail("congratulations"),
        trigger="date",
        trigger_field="birthday",
        trigger_days=days,
        trigger_yearly=yearly,
    )
    series.now = await brand.pool.fetchval("SELECT now()")
    return series


async def _planned(brand: Tenant) -> list[datetime]:
    rows = await brand.pool.fetch("SELECT due_at FROM drip_dates ORDER BY due_at")
    return [row["due_at"] for row in rows]


async def _next_birthday(brand: Tenant, born: date) -> datetime:
    now: datetime = await brand.pool.fetchval("SELECT now()")
    this_year = datetime(now.year, born.month, born.day, 9, tzinfo=UTC)
    return this_year if this_year > now else this_year.replace(year=now.year + 1)


async def test_a_date_of_a_subscriber_starts_a_drip_every_year(brand: Tenant) -> None:
    series = await _birthdays(brand)
    await brand.subscriber(custom_fields={"birthday": "1990-03-14"})
    await tell_the_scheduler(brand)
    due = await _next_birthday(brand, date(1990, 3, 14))
    assert await _planned(brand) == [due]
    series.now = due - timedelta(seconds=1)
    assert await series.tick_dated() == 0
    assert await series.tick_dated(by=timedelta(seconds=1)) == 1
    assert await series.tick() == 1
    assert await _planned(brand) == [due.replace(year=due.year + 1)]
    series.now = due.replace(year=due.year + 1)
    assert await series.tick_dated() == 1
    assert [run["run_no"] for run in await series.runs()] == [1, 2]


@pytest.mark.parametrize(("re_enroll", "yearly"), [("never", True), ("after_end", False), ("always", True)])
async def test_a_day_that_has_begun_somebody_does_not_when_its_time_is_moved_to_later(
    brand: Tenant, re_enroll: str, *, yearly: bool
) -> None:
    series = await _birthdays(brand, yearly=yearly)
    await series.set(re_enroll=re_enroll)
    due = series.now.replace(hour=9, minute=0, second=0, microsecond=0) + 30 * DAY
    await brand.subscriber(custom_fields={"birthday": due.date().isoformat()})
    await tell_the_scheduler(brand)
    series.now = due
    assert await series.tick_dated() == 1
    assert await series.tick() == 1
    await series.set(trigger_time=clock(15))
    await brand.subscriber(first_name="Ada")
    await tell_the_scheduler(brand)
    assert await _planned(brand) == [due + timedelta(hours=6)]
    assert await series.tick_dated(by=timedelta(hours=6)) == 0
    assert await _planned(brand) == (
        [(due + timedelta(hours=6)).replace(year=due.year + 1)] if yearly else []
    )


@pytest.mark.parametrize("days", [-7, 3])
async def test_a_drip_may_begin_days_before_or_after_the_date(brand: Tenant, days: int) -> None:
    await _birthdays(brand, days=days, yearly=False)
    day = (await brand.pool.fetchval("SELECT now()")).date() + timedelta(days=30)
    await brand.subscriber(custom_fields={"birthday": day.isoformat()})
    await tell_the_scheduler(brand)
    expected = day + timedelta(days=days)
    assert await _planned(brand) == [datetime(expected.year, expected.month, expected.day, 9, tzinfo=UTC)]


async def test_a_date_that_is_over_starts_nothing_unless_it_is_yearly(brand: Tenant) -> None:
    await _birthdays(brand, yearly=False)
    await brand.subscriber(custom_fields={"birthday": "1990-03-14"})
    await tell_the_scheduler(brand)
    assert await _planned(brand) == []


@pytest.mark.parametrize("given", ["soon", "2031-02-31", "2031-13-01", "0000-01-01", "31.12.1990", ""])
async def test_what_is_no_date_starts_nothing(brand: Tenant, given: str) -> None:
    await _birthdays(brand)
    await brand.subscriber(custom_fields={"birthday": given})
    await tell_the_scheduler(brand)
    assert await _planned(brand) == []


async def test_a_date_that_means_never_starts_nothing(brand: Tenant) -> None:
    await _birthdays(brand, days=1, yearly=False)
    await brand.subscriber(custom_fields={"birthday": "9999-12-31"})
    await tell_the_scheduler(brand)
    assert await _planned(brand) == []


async def test_a_leap_day_is_kept_on_the_last_of_february(brand: Tenant) -> None:
    found = await brand.pool.fetchval(
        "SELECT drip_date_due('2024-02-29', 0, true, '09:00', 'UTC', '2026-06-01'::timestamptz)"
    )
    assert found == datetime(2027, 2, 28, 9, tzinfo=UTC)


async def test_a_date_that_is_changed_or_taken_away_is_planned_anew(brand: Tenant) -> None:
    await _birthdays(brand)
    subscriber = await brand.subscriber(custom_fields={"birthday": "1990-03-14"})
    await tell_the_scheduler(brand)
    await brand.pool.execute(
        "UPDATE subscribers SET custom_fields = $2 WHERE id = $1", subscriber, {"birthday": "1990-07-01"}
    )
    await brand.subscriber(first_name="Ada")
    await tell_the_scheduler(brand)
    assert await _planned(brand) == [await _next_birthday(brand, date(1990, 7, 1))]
    await brand.pool.execute("UPDATE subscribers SET custom_fields = '{}' WHERE id = $1", subscriber)
    await brand.subscriber(city="Lisbon")
    await tell_the_scheduler(brand)
    assert await _planned(brand) == []


async def test_a_new_date_trigger_finds_the_subscribers_who_are_there(brand: Tenant) -> None:
    await brand.field("birthday")
    for number in range(5):
        await brand.subscriber(f"reader{number}@example.com", custom_fields={"birthday": "1990-03-14"})
    series = await _birthdays_of_old(brand)
    assert len(await _planned(brand)) == 5
    assert series.id


async def _birthdays_of_old(brand: Tenant) -> Series:
    series = await Series.create(
        brand,
        mail("congratulations"),
        trigger="date",
        trigger_field="birthday",
        trigger_days=0,
        trigger_yearly=True,
    )
    await brand.pool.execute("INSERT INTO drip_jobs (drip_id, kind) VALUES ($1, 'plan_dates')", series.id)
    while await work_drip_job(brand.pool, now=series.now, size=2):
        pass
    return series


async def test_who_would_be_more_than_a_day_late_is_left_out_until_next_year(brand: Tenant) -> None:
    series = await _birthdays(brand)
    await brand.subscriber(custom_fields={"birthday": "1990-03-14"})
    await tell_the_scheduler(brand)
    due = await _next_birthday(brand, date(1990, 3, 14))
    series.now = due + 2 * DAY
    assert await series.tick_dated() == 0
    assert await _planned(brand) == [due.replace(year=due.year + 1)]
