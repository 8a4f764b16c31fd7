"""Pause, resume or cancel a replay, or give it another rate."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.errors import ReplayHasEnded
from mailement_webhooks.ids import ReplayId
from mailement_webhooks.replays import Replay, ReplayState
from mailement_webhooks.usecases.list_replays import show_replay
from mailement_webhooks.usecases.start_replay import check_replay_rate

SQL: Final = queries_beside(__file__)


async def pause_replay(executor: Executor, replay_id: ReplayId, *, brand_id: BrandId | None = None) -> Replay:
    """What it has put into the queue is still sent. Raises ReplayNotFound, ReplayHasEnded."""
    return await _change(executor, replay_id, brand_id, state=ReplayState.PAUSED)


async def resume_replay(
    executor: Executor, replay_id: ReplayId, *, brand_id: BrandId | None = None
) -> Replay:
    """Raises ReplayNotFound, ReplayHasEnded."""
    return await _change(executor, replay_id, brand_id, state=ReplayState.RUNNING)


async def cancel_replay(
    executor: Executor, replay_id: ReplayId, *, brand_id: BrandId | None = None
) -> Replay:
    """What it has put into the queue is taken out again, unless it is being sent. Raises ReplayNotFound, ReplayHasEnded."""
    return await _change(executor, replay_id, brand_id, state=ReplayState.CANCELLED)


async def set_replay_rate(
    executor: Executor, replay_id: ReplayId, rate_per_second: float, *, brand_id: BrandId | None = None
) -> Replay:
    """Raises InvalidReplay, ReplayNotFound, ReplayHasEnded."""
    check_replay_rate(rate_per_second)
    return await _change(executor, replay_id, brand_id, rate=rate_per_second)


async def _change(
    executor: Executor,
    replay_id: ReplayId,
    brand_id: BrandId | None,
    *,
    state: ReplayState | None = None,
    rate: float | None = None,
) -> Replay:
    changed = await executor.fetchval(SQL["change"], replay_id, brand_id, state, rate)
    replay = await show_replay(executor, replay_id, brand_id=brand_id)
    if changed is None:
        raise ReplayHasEnded(replay_id)
    return replay
