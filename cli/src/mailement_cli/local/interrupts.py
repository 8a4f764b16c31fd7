"""Ctrl-C and SIGTERM around servers of our own: they end the program, but never between a server and its record.

Both are for the main thread, the only one that may say what signals do.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_WORDS_TO_END = (signal.SIGINT, signal.SIGTERM)

_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def taken_as_ctrl_c() -> Iterator[None]:
    """Within the block SIGINT and SIGTERM raise KeyboardInterrupt, whatever the process inherited.

    A shell lets what it starts in the background ignore SIGINT; and SIGTERM, left as it is, would end this process
    and leave its servers running.
    """
    with _answered_by(signal.default_int_handler):
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """SIGINT and SIGTERM that come within the block raise KeyboardInterrupt at its end.

    A failure of the block itself goes first.
    """
    came: list[int] = []
    with _answered_by(lambda number, _: came.append(number)):
        yield
    if came:
        raise KeyboardInterrupt


@contextmanager
def _answered_by(handler: _Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _WORDS_TO_END}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
