"""What was made of a source, kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final, Generic, TypeVar

# What an entry takes besides its source.
_ENTRY_CHARACTERS: Final = 200

MadeT = TypeVar("MadeT")


class SourceCache(Generic[MadeT]):
    """Calls `make` once for each source that is kept; the least recently used ones go first.

    `characters` bounds the sources together. May be used by several threads; what `make` raises is not kept.
    """

    def __init__(self, make: Callable[[str], MadeT], *, characters: int) -> None:
        self._make = make
        self._room = characters
        self._made: OrderedDict[str, MadeT] = OrderedDict()
        self._lock = Lock()

    def __call__(self, source: str) -> MadeT:
        with self._lock:
            if source in self._made:
                self._made.move_to_end(source)
                return self._made[source]
        made = self._make(source)
        with self._lock:
            if source not in self._made:
                self._made[source] = made
                self._room -= _size(source)
            while self._room < 0:
                oldest, _ = self._made.popitem(last=False)
                self._room += _size(oldest)
        return made


def _size(source: str) -> int:
    return len(source) + _ENTRY_CHARACTERS
