"""`mailement webhook replay watch` as a process of its own, with a terminal for its screen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from mailement_webhooks.replays import Replay, ReplayFilter, ReplayState
from mailement_webhooks.usecases.advance_replays import advance_replays
from mailement_webhooks.usecases.list_replays import show_replay
from mailement_webhooks.usecases.start_replay import start_replay
from tests.support.database import Database
from tests.support.delivery_ledger import ALL_SHARDS, DeliveryLedger, delivered
from tests.support.operator import operators_environment
from tests.support.processes import bare_environment

_SECONDS = 30
_DELIVERIES = 30


class Screen:
    """What a program wrote to its terminal."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self._descriptor = descriptor
        self._process = process
        self.text = ""

    async def wait_for(self, text: str) -> None:
        async with asyncio.timeout(_SECONDS):
            while text not in self.text:
                assert await self._read(), f"it ended before {text!r} came:\n{self.text}"

    async def end(self) -> int:
        """The exit code; everything that was written is in `text`."""
        async with asyncio.timeout(_SECONDS):
            while await self._read():
                pass
            return await asyncio.to_thread(self._process.wait)

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    async def _read(self) -> bool:
        # The kernel answers with an error when nobody has the other side open any more.
        with contextlib.suppress(OSError):
            if chunk := await asyncio.to_thread(os.read, self._descriptor, 4096):
                self.text += chunk.decode(errors="replace")
                return True
        return False


@contextmanager
def on_a_screen(*words: str, settings: dict[str, str], folder: Path) -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    # As a terminal starts it: if we were started with `&`, we ignore SIGINT, and it would inherit that.
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "mailement_cli", *words],
            cwd=folder,
            env={**bare_environment(settings), "COLUMNS": "100", "LANG": "C.UTF-8"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
    finally:
        signal.signal(signal.SIGINT, earlier)
    os.close(theirs)
    try:
        yield Screen(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture
async def ledger(database: Database) -> DeliveryLedger:
    """With finished deliveries of one endpoint."""
    ledger = await DeliveryLedger.create(database)
    await ledger.endpoint()
    await ledger.happens(_DELIVERIES)
    await ledger.record(*map(delivered, (await ledger.claim()).deliveries))
    return ledger


@asynccontextmanager
async def owned(ledger: DeliveryLedger) -> AsyncIterator[None]:
    """What the endpoint's owner does, over and over."""

    async def own() -> None:
        while True:
            await advance_replays(ledger.pool, shards=ALL_SHARDS, seconds=0.05)
            await ledger.record(*map(delivered, (await ledger.claim(room=2, replay_room=2)).deliveries))
            await asyncio.sleep(0.05)

    owner = asyncio.create_task(own())
    try:
        yield
    finally:
        owner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await owner


async def started(ledger: DeliveryLedger) -> Replay:
    return await start_replay(ledger.pool, ledger.endpoints[0], ReplayFilter(), rate_per_second=1000)


async def test_one_line_moves_until_the_replay_ends(
    database: Database, ledger: DeliveryLedger, tmp_path: Path
) -> None:
    replay = await started(ledger)

    watch = ("webhook", "replay", "watch", str(replay.id))
    with on_a_screen(*watch, settings=operators_environment(database), folder=tmp_path) as screen:
        await screen.wait_for("0/30")
        async with owned(ledger):
            code = await screen.end()

    assert code == 0
    moving, _, rest = screen.text.partition("\r\n")
    assert moving.count("\r") > 1
    assert "░" in moving
    assert moving.rpartition("\r")[2].startswith(f"replay {replay.id} finished ██████████")
    assert "100%  30/30  30 delivered, 0 failed" in moving
    assert rest.startswith("id ")


async def test_ctrl_c_leaves_the_replay_running_and_says_so(
    database: Database, ledger: DeliveryLedger, tmp_path: Path
) -> None:
    replay = await started(ledger)

    watch = ("webhook", "replay", "watch", str(replay.id))
    with on_a_screen(*watch, settings=operators_environment(database), folder=tmp_path) as screen:
        await screen.wait_for("0/30")
        screen.interrupt()
        code = await screen.end()

    assert code == 130
    assert screen.text.splitlines()[-1] == (
        f"replay {replay.id} goes on: `webhook replay watch {replay.id}` looks again"
    )
    assert "Traceback" not in screen.text
    assert (await show_replay(ledger.pool, replay.id)).state is ReplayState.RUNNING
