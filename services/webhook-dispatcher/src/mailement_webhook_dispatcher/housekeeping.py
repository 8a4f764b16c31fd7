"""What has to be done besides sending, by whichever dispatcher comes to it first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.logs import logger
from mailement_common.supervise import keep_running, wait_for
from mailement_webhook_dispatcher.metrics import INTERRUPTED
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.usecases.adopt_previous import adopt_previous
from mailement_webhooks.usecases.advance_replays import advance_replays
from mailement_webhooks.usecases.announce_due import announce_due
from mailement_webhooks.usecases.discard_marked import discard_marked
from mailement_webhooks.usecases.expire_held import expire_held
from mailement_webhooks.usecases.keep_ledger import keep_ledger
from mailement_webhooks.usecases.reopen_expired import reopen_expired

_CHUNK: Final = 500
_REAP_SECONDS: Final = 1.0
_REPLAY_SECONDS: Final = 1.0
_DISCARD_SECONDS: Final = 5.0
_EXPIRE_SECONDS: Final = 60.0
_ADOPT_SECONDS: Final = 60.0

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Days that things are kept."""

    hold_days: int
    ledger_days: int
    payload_days: int


class Housekeeping:
    """`wake` is told whom there is something for; `is_ours` whether that reaches the owner.

    `is_behind`: attempts that are over wait for the database, so that not every lease that has ended is a dead one's.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        keeping: Keeping,
        *,
        owned: Callable[[], Collection[Shard]],
        wake: Callable[[Collection[EndpointId]], None],
        is_ours: Callable[[EndpointId], bool],
        is_behind: Callable[[], bool],
        look_everywhere: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._keeping = keeping
        self._owned = owned
        self._wake = wake
        self._is_ours = is_ours
        self._is_behind = is_behind
        self._look_everywhere = look_everywhere

    async def run(self, stop: asyncio.Event) -> None:
        """All of it side by side, until `stop`."""
        async with asyncio.TaskGroup() as group:
            for name, work, seconds in (
                ("webhook reaper", self._reap, _REAP_SECONDS),
                ("webhook replays", self._replay, _REPLAY_SECONDS),
                ("webhook discards", self._discard, _DISCARD_SECONDS),
                ("webhook holds", self._expire, _EXPIRE_SECONDS),
                ("previous webhooks", self._adopt, _ADOPT_SECONDS),
            ):
                group.create_task(_every(seconds, name, work, stop))
            group.create_task(keep_running("webhook ledger", lambda: self._keep(stop), stop))

    async def _reap(self) -> bool:
        """Finds the deliveries of dispatchers that died."""
        if self._is_behind():
            return False
        reopened = await reopen_expired(self._pool, limit=_CHUNK)
        if not reopened.deliveries:
            return False
        INTERRUPTED.inc(reopened.deliveries)
        log.warning("webhook.interrupted", deliveries=reopened.deliveries)
        self._wake(reopened.endpoint_ids)
        await announce_due(
            self._pool,
            [endpoint_id for endpoint_id in reopened.endpoint_ids if not self._is_ours(endpoint_id)],
        )
        return reopened.deliveries >= _CHUNK

    async def _replay(self) -> bool:
        if shards := self._owned():
            self._wake(await advance_replays(self._pool, shards=shards, seconds=_REPLAY_SECONDS))
        return False

    async def _discard(self) -> bool:
        discarded = await discard_marked(self._pool, _CHUNK)
        if discarded:
            log.info("webhook.discarded", deliveries=discarded, reason="asked")
        return discarded >= _CHUNK

    async def _expire(self) -> bool:
        discarded = await expire_held(self._pool, self._keeping.hold_days, _CHUNK)
        if discarded:
            log.warning("webhook.discarded", deliveries=discarded, reason="hold expired")
        return discarded >= _CHUNK

    async def _adopt(self) -> bool:
        async with self._pool.acquire() as connection:
            adopted = await adopt_previous(connection, _CHUNK)
        if adopted:
            log.info("webhook.adopted", deliveries=adopted)
            self._look_everywhere()
        return adopted >= _CHUNK

    async def _keep(self, stop: asyncio.Event) -> None:
        keeping = self._keeping
        await keep_ledger(
            self._pool, stop, ledger_days=keeping.ledger_days, payload_days=keeping.payload_days
        )


async def _every(seconds: float, name: str, work: Callable[[], Awaitable[bool]], stop: asyncio.Event) -> None:
    """`work` tells whether it left something that it could go on with at once."""

    async def loop() -> None:
        while not stop.is_set():
            if not await work():
                await wait_for(stop, seconds)

    await keep_running(name, loop, stop)
