"""The rate of one mail account, kept where its requests leave: however long they waited before that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from mailement_common.clock import Clock
from mailement_mailer.batcher import Batcher
from mailement_newsletter.queries import pacing
from mailement_newsletter.rules.pacing import Bucket, Want

# Who would have to wait longer had better let others have his mails.
_LONGEST_WAIT: Final = timedelta(seconds=2)


class Pace:
    """Whoever waits for a turn at the same time asks in one statement."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._asked: Bucket | None = None
        self._again_at: datetime | None = None
        self._ask: Batcher[Bucket, datetime | None] = Batcher(self._ask_all)

    async def turn(self, bucket: Bucket) -> timedelta | None:
        """Waits until a request may be made, and takes that turn. A time: how long that is away, since it is too long.

        Raises what the database raises.
        """
        while (again_at := await self._ask(bucket)) is not None:
            wait = again_at - self._clock.now()
            if wait > _LONGEST_WAIT:
                return wait
            await asyncio.sleep(wait.total_seconds())
        return None

    async def close(self) -> None:
        await self._ask.close()

    async def _ask_all(self, asks: Sequence[Bucket]) -> list[datetime | None]:
        """For each of them None, if he may go, or when to ask again."""
        now = self._clock.now()
        # The last one has the newest opinion on the limit.
        bucket = asks[-1]
        if bucket == self._asked and self._again_at is not None and self._again_at > now:
            return [self._again_at] * len(asks)
        (grant,) = await pacing.reserve(self._pool, [Want(mails=len(asks), buckets=(bucket,))], now)
        self._asked, self._again_at = bucket, grant.again_at
        return [None] * grant.mails + [grant.again_at] * (len(asks) - grant.mails)
