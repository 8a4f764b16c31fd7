"""One pace for any number of mailers: never more than the limit, and as near to it as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from mailement_newsletter.queries.pacing import give_back, observe, reserve, slow_down
from mailement_newsletter.rules.pacing import Bucket, DayQuota, Grant, Want, bucket_for
from tests.support.database import Database
from tests.support.ledger import until

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
TODAY = date(2030, 1, 31)
MIDNIGHT = datetime(2030, 2, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ACCOUNT = Bucket(key="account:1", interval=SECOND)
MAILBOX = DayQuota(key="sender:1", day=TODAY, limit=40)


@pytest.fixture
def pool(database: Database) -> asyncpg.Pool:
    return database.pool


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def through(*buckets: Bucket, mails: int = 1, days: Sequence[DayQuota] = ()) -> Want:
    return Want(mails=mails, buckets=buckets, days=days)


async def ask(pool: asyncpg.Pool, want: Want, at: datetime = NOON) -> Grant:
    (grant,) = await reserve(pool, [want], at)
    return grant


async def used(pool: asyncpg.Pool, key: str = "sender:1", day: date = TODAY) -> int:
    count: int = await pool.fetchval("SELECT used FROM sending_days WHERE key = $1 AND day = $2", key, day)
    return count


async def test_a_want_without_limits_is_granted_and_costs_no_row(pool: asyncpg.Pool) -> None:
    assert await ask(pool, Want(mails=1000)) == Grant(mails=1000)
    limited, unlimited = await reserve(pool, [through(ACCOUNT), Want(mails=7)], NOON)

    assert (limited.mails, unlimited.mails) == (1, 7)
    assert await pool.fetchval("SELECT array_agg(key) FROM pacing_buckets") == ["account:1"]
    assert await pool.fetchval("SELECT count(*) FROM sending_days") == 0


async def test_a_bucket_grants_one_mail_and_says_when_the_next_may_leave(pool: asyncpg.Pool) -> None:
    assert await ask(pool, through(ACCOUNT, mails=5)) == Grant(mails=1, again_at=after(1))
    assert (await ask(pool, through(ACCOUNT), after(0.999))).mails == 0
    assert (await ask(pool, through(ACCOUNT), after(1))).mails == 1


async def test_a_rest_earns_a_burst_and_no_more(pool: asyncpg.Pool) -> None:
    bucket = Bucket(key="account:1", interval=SECOND, burst=3)

    assert await ask(pool, through(bucket, mails=9)) == Grant(mails=3, again_at=after(1))
    assert (await ask(pool, through(bucket, mails=9), after(1000))).mails == 3
    assert (await ask(pool, through(bucket, mails=9), after(1002))).mails == 2


async def test_a_day_grants_what_is_left_of_it_and_points_to_the_next(pool: asyncpg.Pool) -> None:
    first = await ask(pool, Want(mails=30, days=[MAILBOX]))
    second = await ask(pool, Want(mails=30, days=[MAILBOX]))

    assert first == Grant(mails=30)
    assert second == Grant(mails=10, again_at=MIDNIGHT, day_used_up=True)
    assert await used(pool) == 40


async def test_the_next_day_begins_anew(pool: asyncpg.Pool) -> None:
    await ask(pool, Want(mails=40, days=[MAILBOX]))
    tomorrow = DayQuota(key="sender:1", day=date(2030, 2, 1), limit=40)

    assert (await ask(pool, Want(mails=5, days=[tomorrow]), MIDNIGHT)).mails == 5


async def test_a_limit_that_was_lowered_grants_nothing_to_those_above_it(pool: asyncpg.Pool) -> None:
    await ask(pool, Want(mails=40, days=[MAILBOX]))
    lowered = DayQuota(key="sender:1", day=TODAY, limit=10)

    assert (await ask(pool, Want(mails=1, days=[lowered]))).mails == 0
    assert await used(pool) == 40


async def test_what_one_place_refuses_is_not_taken_from_the_others(pool: asyncpg.Pool) -> None:
    one_left = DayQuota(key="sender:1", day=TODAY, limit=1)
    wide = Bucket(key="account:1", interval=SECOND, burst=10)
    grant = await ask(pool, through(wide, mails=4, days=[one_left, MAILBOX]))

    assert grant == Grant(mails=1, again_at=MIDNIGHT, day_used_up=True)
    assert (await ask(pool, through(wide, mails=20))).mails == 9


async def test_several_wants_share_a_place_first_come_first_served(pool: asyncpg.Pool) -> None:
    wide = Bucket(key="account:1", interval=SECOND, burst=5)
    empty = DayQuota(key="sender:2", day=TODAY, limit=0)
    grants = await reserve(
        pool,
        [
            through(wide, mails=3),
            # Takes nothing, and leaves the account to those behind it.
            through(wide, mails=3, days=[empty]),
            through(wide, mails=3),
            through(wide, mails=1),
        ],
        NOON,
    )

    assert [grant.mails for grant in grants] == [3, 0, 2, 0]
    assert [grant.day_used_up for grant in grants] == [False, True, False, False]
    assert grants[2].again_at == grants[3].again_at == after(1)


async def test_of_two_opinions_on_a_place_the_stricter_holds(pool: asyncpg.Pool) -> None:
    grants = await reserve(
        pool,
        [
            through(Bucket(key="account:1", interval=SECOND, burst=9), mails=9),
            through(Bucket(key="account:1", interval=2 * SECOND, burst=2), mails=9),
        ],
        NOON,
    )

    assert [grant.mails for grant in grants] == [2, 0]
    assert grants[1].again_at == after(2)


async def test_a_day_gets_back_what_did_not_leave(pool: asyncpg.Pool) -> None:
    want = Want(mails=40, days=[MAILBOX])
    await ask(pool, want)

    await give_back(pool, [Want(mails=2, days=[MAILBOX]), Want(mails=1, days=[MAILBOX]), Want(mails=9)])

    assert await used(pool) == 37
    assert (await ask(pool, want)).mails == 3


async def test_a_day_never_gets_back_more_than_it_gave(pool: asyncpg.Pool) -> None:
    await ask(pool, Want(mails=2, days=[MAILBOX]))
    await give_back(pool, [Want(mails=5, days=[MAILBOX])])

    assert await used(pool) == 0


async def test_a_provider_that_asks_for_silence_gets_it_from_everybody(pool: asyncpg.Pool) -> None:
    wide = Bucket(key="account:1", interval=timedelta(milliseconds=100), burst=5)
    await slow_down(pool, "account:1", timedelta(seconds=7), NOON)

    assert await ask(pool, through(wide), after(6.9)) == Grant(mails=0, again_at=after(7))
    assert (await ask(pool, through(wide), after(7))).mails == 1


async def test_silence_is_kept_where_no_limit_is_known_too(pool: asyncpg.Pool) -> None:
    unknown = Bucket(key="account:default")
    assert (await ask(pool, through(unknown, mails=500))).mails == 500
    await slow_down(pool, "account:default", timedelta(seconds=7), NOON)

    assert await ask(pool, through(unknown), after(1)) == Grant(mails=0, again_at=after(7))
    assert (await ask(pool, through(unknown, mails=500), after(7))).mails == 500


async def test_a_shorter_wish_does_not_end_a_longer_silence(pool: asyncpg.Pool) -> None:
    await slow_down(pool, "account:1", timedelta(seconds=60), NOON)
    await slow_down(pool, "account:1", timedelta(seconds=1), after(1))

    assert await ask(pool, through(ACCOUNT), after(30)) == Grant(mails=0, again_at=after(60))


async def pace(pool: asyncpg.Pool, at: datetime) -> float:
    """Mails a second that a bucket of one a second gives at a moment."""
    assert (await ask(pool, through(ACCOUNT), at)).mails == 1
    again_at = (await ask(pool, through(ACCOUNT), at)).again_at
    assert again_at is not None
    return SECOND / (again_at - at)


async def test_after_silence_the_pace_is_half_and_comes_back_step_by_step(pool: asyncpg.Pool) -> None:
    await slow_down(pool, "account:1", timedelta(0), NOON)

    paces = [await pace(pool, after(seconds)) for seconds in (5, 55, 60, 115, 120, 180, 240, 300, 3000)]

    assert paces == pytest.approx([0.5, 0.5, 0.6, 0.6, 0.7, 0.8, 0.9, 1, 1], rel=1e-4)


async def test_many_refusals_at_once_halve_the_pace_once(pool: asyncpg.Pool) -> None:
    await asyncio.gather(*(slow_down(pool, "account:1", timedelta(0), after(n / 100)) for n in range(12)))

    assert await pace(pool, after(5)) == pytest.approx(0.5, rel=1e-4)


async def test_a_refusal_at_the_slower_pace_halves_it_again_but_not_for_ever(pool: asyncpg.Pool) -> None:
    await slow_down(pool, "account:1", timedelta(0), NOON)
    await slow_down(pool, "account:1", timedelta(0), after(60))
    assert await pace(pool, after(61)) == pytest.approx(0.3, rel=1e-4)

    for minute in range(2, 30):
        await slow_down(pool, "account:1", timedelta(0), after(60 * minute))
    assert await pace(pool, after(60 * 29 + 30)) == pytest.approx(0.1, rel=1e-4)


async def test_what_a_provider_tells_of_its_limit_holds_for_everybody(pool: asyncpg.Pool) -> None:
    unknown = Bucket(key="account:default", burst=1000)
    await observe(pool, "account:default", limit=20, window=SECOND, now=NOON)

    grant = await ask(pool, through(unknown, mails=500))

    assert grant == Grant(mails=2, again_at=after(1 / 18).replace(microsecond=55_556))


async def test_the_operators_limit_holds_where_it_is_the_stricter(pool: asyncpg.Pool) -> None:
    await observe(pool, "account:1", limit=1000, window=SECOND, now=NOON)

    assert await ask(pool, through(ACCOUNT, mails=5)) == Grant(mails=1, again_at=after(1))


async def test_the_same_news_are_written_once(pool: asyncpg.Pool) -> None:
    await observe(pool, "account:1", limit=5, window=SECOND, now=NOON)
    before = await pool.fetchval("SELECT xmin::text FROM pacing_buckets")
    await observe(pool, "account:1", limit=5, window=SECOND, now=after(1))
    same = await pool.fetchval("SELECT xmin::text FROM pacing_buckets")
    await observe(pool, "account:1", limit=6, window=SECOND, now=after(1))
    changed = await pool.fetchval("SELECT xmin::text FROM pacing_buckets")

    assert before == same != changed


async def test_many_mailers_at_once_use_a_day_up_exactly(pool: asyncpg.Pool) -> None:
    quotas = [DayQuota(key=f"sender:{n}", day=TODAY, limit=97) for n in range(3)]

    async def mailer(seed: int) -> list[int]:
        granted = [0, 0, 0]
        for turn in range(20):
            # Each names them in an order of its own; nobody may wait in a circle.
            order = [(seed + turn + n) % 3 for n in range(3)]
            wants = [Want(mails=1 + turn % 4, days=[quotas[n]]) for n in order]
            for n, grant in zip(order, await reserve(pool, wants, NOON), strict=True):
                granted[n] += grant.mails
        return granted

    totals = await asyncio.gather(*(mailer(seed) for seed in range(12)))

    assert [sum(column) for column in zip(*totals, strict=True)] == [97, 97, 97]
    assert [await used(pool, f"sender:{n}") for n in range(3)] == [97, 97, 97]


async def test_mailers_that_give_back_leave_the_day_exact(pool: asyncpg.Pool) -> None:
    async def mailer(seed: int) -> int:
        kept = 0
        for turn in range(15):
            grant = await ask(pool, Want(mails=3, days=[MAILBOX]))
            if grant.mails and (seed + turn) % 2:
                await give_back(pool, [Want(mails=1, days=[MAILBOX])])
                kept -= 1
            kept += grant.mails
        return kept

    kept = sum(await asyncio.gather(*(mailer(seed) for seed in range(10))))

    assert kept == await used(pool) <= 40


async def test_no_window_of_a_shared_bucket_holds_more_than_its_limit(pool: asyncpg.Pool) -> None:
    """Six mailers, whose clocks differ by some milliseconds, for six seconds of their time."""
    bucket = bucket_for("account:1", limit=20, window=SECOND)
    left: list[float] = []

    for turn in range(200):
        moments = [turn * 0.03 + mailer * 0.003 for mailer in range(6)]
        grants = await asyncio.gather(*(ask(pool, through(bucket, mails=3), after(at)) for at in moments))
        left += [at for at, grant in zip(moments, grants, strict=True) for _ in range(grant.mails)]

    left.sort()
    worst = max(sum(start <= moment < start + 1 for moment in left) for start in left)
    assert worst <= 20
    assert len(left) >= 0.9 * 6 * 18


async def test_days_are_given_back_in_the_order_in_which_they_are_taken_whatever_the_collation(
    pool: asyncpg.Pool,
) -> None:
    """A collation that passes over punctuation, as that of most languages does, puts the second key first."""
    await pool.execute(
        """CREATE COLLATION wordly (provider = icu, locale = 'en-u-ka-shifted');
        ALTER TABLE sending_days ALTER COLUMN key TYPE text COLLATE wordly"""
    )
    first, second = (DayQuota(key=f"domain:{name}.example", day=TODAY, limit=9) for name in ("a-c", "ab"))
    want = Want(mails=1, days=[second, first])
    await ask(pool, want)
    async with pool.acquire() as holder, holder.transaction():
        await holder.execute("SELECT 1 FROM sending_days WHERE key = $1 FOR UPDATE", first.key)
        giving_back = asyncio.create_task(give_back(pool, [want]))
        await until(lambda: _somebody_waits(pool), what="it waits for the first day")
        free = await pool.fetchval(
            "SELECT key FROM sending_days WHERE key = $1 FOR UPDATE SKIP LOCKED", second.key
        )
    await giving_back
    assert free == second.key


async def _somebody_waits(pool: asyncpg.Pool) -> bool:
    return bool(
        await pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )
