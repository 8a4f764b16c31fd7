from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from mailement_common.supervise import causes, keep_running, pauses, wait_for


class Loop:
    """Ends each run as the script says; an entry of None returns."""

    def __init__(self, *script: BaseException | None) -> None:
        self._script = list(script)
        self.runs = 0

    async def __call__(self) -> None:
        ending = self._script[min(self.runs, len(self._script) - 1)]
        self.runs += 1
        if ending is not None:
            raise ending


def test_pauses_grow_to_five_seconds() -> None:
    assert list(islice(pauses(), 7)) == [0.3, 0.6, 1.2, 2.4, 4.8, 5.0, 5.0]


@pytest.mark.parametrize("fault", [RuntimeError("no"), ExceptionGroup("two", [OSError(), KeyError()])])
async def test_a_loop_that_fails_runs_again(fault: Exception) -> None:
    loop = Loop(fault, None)

    await keep_running("a loop", loop, asyncio.Event())

    assert loop.runs == 2


async def test_a_loop_that_returns_is_not_run_again() -> None:
    loop = Loop(None)

    await keep_running("a loop", loop, asyncio.Event())

    assert loop.runs == 1


async def test_a_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    loop = Loop(asyncio.CancelledError(), None)

    await keep_running("a loop", loop, asyncio.Event())

    assert loop.runs == 2


async def test_a_real_cancellation_ends_it() -> None:
    started = asyncio.Event()

    async def loop() -> None:
        started.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(keep_running("a loop", loop, asyncio.Event()))
    await started.wait()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_real_cancellation_ends_it_during_a_pause() -> None:
    loop = Loop(OSError())
    running = asyncio.create_task(keep_running("a loop", loop, asyncio.Event()))
    while not loop.runs:
        await asyncio.sleep(0)
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


async def test_stop_ends_a_pause_at_once() -> None:
    stop = asyncio.Event()
    loop = Loop(OSError())
    running = asyncio.create_task(keep_running("a loop", loop, stop))
    while loop.runs < 3:  # the pause is a second and more by then
        await asyncio.sleep(0.01)
    stop.set()

    async with asyncio.timeout(0.5):
        await running
    assert loop.runs == 3


async def test_a_loop_is_not_started_after_stop() -> None:
    stop = asyncio.Event()
    stop.set()
    loop = Loop(None)

    await keep_running("a loop", loop, stop)

    assert loop.runs == 0


async def test_waiting_tells_whether_the_event_came() -> None:
    event = asyncio.Event()

    assert not await wait_for(event, 0.01)
    event.set()
    assert await wait_for(event, 0.01)


def test_the_causes_of_a_group_are_what_it_holds() -> None:
    first, second, third = OSError(), KeyError(), ValueError()

    assert causes(ExceptionGroup("a", [first, ExceptionGroup("b", [second, third])])) == [
        first,
        second,
        third,
    ]
    assert causes(first) == [first]
