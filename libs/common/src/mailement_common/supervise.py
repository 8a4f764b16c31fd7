"""Loops that must not end: restarted after any failure, with a pause that grows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from mailement_common.logs import logger

_FIRST_PAUSE: Final = 0.3
_LONGEST_PAUSE: Final = 5.0
# Not the world's faults but ours: these need a traceback.
_MISTAKES: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    TypeError,
    ValueError,
)

log = logger(__name__)


def pauses() -> Iterator[float]:
    """0.3, 0.6, 1.2, … seconds, at most 5."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST_PAUSE)


async def keep_running(name: str, loop: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Runs `loop` again whenever it fails, until it returns or `stop` is set.

    aio-pika can raise a CancelledError that nobody asked for (a frozen broker): it counts as a failure,
    a cancellation of this very task does not.
    """
    waits = pauses()
    while not stop.is_set():
        started = asyncio.get_running_loop().time()
        try:
            await loop()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.warning("loop.interrupted", loop=name, reason="cancelled by a library")
        except Exception as error:
            reasons = causes(error)
            mistake = any(isinstance(cause, _MISTAKES) for cause in reasons)
            log.warning(
                "loop.failed",
                loop=name,
                reason="; ".join(f"{type(cause).__name__}: {cause}" for cause in reasons),
                exc_info=error if mistake else None,
            )
        else:
            return
        if asyncio.get_running_loop().time() - started > 2 * _LONGEST_PAUSE:
            waits = pauses()
        await wait_for(stop, next(waits))


def causes(error: BaseException) -> list[BaseException]:
    """The error itself, or what a group of them holds."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in causes(inner)]
    return [error]


async def first_of(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Waits for one of the events, at most `seconds`."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Waits for the event, at most `seconds`; tells whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
