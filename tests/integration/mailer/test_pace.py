"""One account's rate, kept where its mails leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from mailement_common.clock import SystemClock
from mailement_mailer.pace import Pace
from mailement_newsletter.rules.pacing import Bucket
from tests.support.database import Database
from tests.support.ledger import SetClock

SLOW = Bucket(key="account:1", interval=timedelta(minutes=1))


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def pace(database: Database, clock: SetClock) -> AsyncIterator[Pace]:
    made = Pace(database.pool, clock)
    yield made
    await made.close()


async def test_of_those_who_ask_together_one_goes_and_the_others_hear_how_long_it_takes(pace: Pace) -> None:
    waits = await asyncio.gather(*(pace.turn(SLOW) for _ in range(3)))
    assert sorted(waits, key=str) == [timedelta(minutes=1), timedelta(minutes=1), None]


async def test_a_turn_that_comes_soon_is_waited_for(database: Database) -> None:
    """Three turns, of which the first comes at once, by a clock that goes."""
    pace = Pace(database.pool, SystemClock())
    quick = replace(SLOW, interval=timedelta(seconds=0.2))
    began = time.monotonic()
    assert [await pace.turn(quick) for _ in range(3)] == [None] * 3
    assert time.monotonic() - began > 0.39
    await pace.close()


async def test_another_limit_is_asked_about_at_once(pace: Pace) -> None:
    assert await pace.turn(SLOW) is None
    assert await pace.turn(SLOW) == timedelta(minutes=1)
    assert await pace.turn(replace(SLOW, interval=timedelta(0), burst=100)) is None


async def test_mailers_share_one_pace(pace: Pace, database: Database, clock: SetClock) -> None:
    other = Pace(database.pool, clock)
    assert await pace.turn(SLOW) is None
    assert await other.turn(SLOW) == timedelta(minutes=1)
    await other.close()
