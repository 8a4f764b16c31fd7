from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest

from mailement_common.ids import BrandId
from mailement_mailer.clerk import Clerk
from mailement_mailer.rounds import LEASE
from mailement_newsletter.queries import lanes, messages
from mailement_newsletter.queries.lanes import Portion
from mailement_newsletter.queries.messages import Claimed, Departure
from mailement_newsletter.rules.lanes import Lane
from mailement_newsletter.rules.senders import MailKind
from tests.support.database import Database
from tests.support.ledger import Ledger, SetClock, new_ledger
from tests.support.mails import NOON

_AWAY = timedelta(seconds=40)
_HARDLY = timedelta(seconds=1)


@dataclass(slots=True)
class AwayOnce:
    """The database is away when it is asked for the first time; when it is back, the leases are renewed, for a moment."""

    pool: asyncpg.Pool
    clock: SetClock
    in_hand: list[Claimed]
    asked: int = 0

    async def fetch(self, *arguments: Any) -> list[asyncpg.Record]:
        self.asked += 1
        if self.asked == 1:
            self.clock.advance(_AWAY)
            await messages.renew(self.pool, self.in_hand, lease_until=self.clock.now() + _HARDLY)
            raise ConnectionResetError
        return await self.pool.fetch(*arguments)


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await new_ledger(database.pool)


async def test_a_start_that_waited_for_the_database_leaves_a_whole_lease(ledger: Ledger) -> None:
    (message,) = await ledger.messages(1)
    lane = Lane(priority=1, brand_id=BrandId(ledger.brand_id), kind=MailKind.DRIP, id=ledger.drip_id)
    portion = Portion(lane=lane, mails=1, lease_until=NOON + LEASE)
    claims = await lanes.claim(ledger.pool, [portion], now=NOON, lease_token=uuid4())
    (claimed,) = claims.claimed
    clock = SetClock()
    pool = AwayOnce(ledger.pool, clock, [claimed])
    clerk = Clerk(cast("asyncpg.Pool", pool), clock)
    departure = Departure(
        id=claimed.id, lease_token=claimed.lease_token, payload={"a": 1}, attempt=1, provider="smtp"
    )
    assert await clerk.start([departure]) == {claimed.lease}
    await clerk.close()
    assert pool.asked == 2
    assert (await ledger.row(message))["lease_until"] == NOON + _AWAY + LEASE
