"""A long deed told while it goes on: one line that moves in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

_LONGEST_BAR: Final = 30
_SHORTEST_BAR: Final = 8
_USUAL_WIDTH: Final = 80
# Long enough to even out batches, short enough to show that somebody changed the rate.
_REMEMBERED_SECONDS: Final = 10
_SILENT_SECONDS: Final = 5
_ERASE_TO_THE_END: Final = "\x1b[K"


class Stream(Protocol):
    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...

    def isatty(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`doing`: what is done, in a word or two. `note`: what a bar cannot say. `per_second` None: not known yet."""

    doing: str
    done: int
    total: int
    note: str
    per_second: float | None


class Pace:
    """How fast something goes, by its last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, second: float, done: int) -> float | None:
        """Per second, with what was told before; None as long as nothing can be said."""
        self._seen.append((second, done))
        while len(self._seen) > 2 and self._seen[1][0] <= second - _REMEMBERED_SECONDS:
            self._seen.popleft()
        began, already = self._seen[0]
        return (done - already) / (second - began) if second > began else None


class ProgressLine:
    """Shows how far a deed is; `end` leaves the last state standing."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._moves = stream.isatty()
        self._shown: Progress | None = None
        self._shown_at = 0.0

    def show(self, progress: Progress, *, at: float) -> None:
        """`at`: seconds of any clock that only goes forward."""
        if self._moves:
            width = shutil.get_terminal_size((_USUAL_WIDTH, 24)).columns - 1
            self._stream.write(f"\r{moving_line(progress, width=width)}{_ERASE_TO_THE_END}")
            self._stream.flush()
        elif self._shown is None or at - self._shown_at >= _SILENT_SECONDS:
            self._write_plain(progress)
            self._shown_at = at
        self._shown = progress

    def end(self, progress: Progress | None = None) -> None:
        """With `progress`, that is shown last."""
        if self._moves:
            if progress is not None:
                self.show(progress, at=0)
            if self._shown is not None:
                self._stream.write("\n")
        elif progress is not None and progress != self._shown:
            self._write_plain(progress)
        self._stream.flush()

    def _write_plain(self, progress: Progress) -> None:
        self._stream.write(f"{plain_line(progress)}\n")
        self._stream.flush()


def moving_line(progress: Progress, *, width: int) -> str:
    """With a bar that is as long as `width` allows; no longer than `width`."""
    figures = _figures(progress)
    room = width - len(progress.doing) - len(figures) - 2
    bar = _bar(progress, min(room, _LONGEST_BAR)) + " " if room > _SHORTEST_BAR else ""
    return f"{progress.doing} {bar}{figures}"[:width]


def plain_line(progress: Progress) -> str:
    return f"{progress.doing} {_figures(progress)}"


def span_in_words(span: timedelta) -> str:
    """To the two largest units that matter: `45 s`, `2 m 5 s`, `1 d 3 h`; never less than nothing."""
    seconds = max(0, round(span.total_seconds()))
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        parts.append((count, unit))
    first = next((index for index, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def _figures(progress: Progress) -> str:
    parts = [f"{_share(progress):.0%}", f"{progress.done:,}/{progress.total:,}"]
    if progress.per_second is not None:
        parts.append(f"{progress.per_second:.1f}/s")
    parts.append(progress.note)
    left = progress.total - progress.done
    if progress.per_second and left > 0:
        parts.append(f"{span_in_words(timedelta(seconds=left / progress.per_second))} left")
    return "  ".join(parts)


def _share(progress: Progress) -> float:
    """100 % is said only when nothing is left."""
    if progress.done >= progress.total:
        return 1
    return min(progress.done / progress.total, 0.99)


def _bar(progress: Progress, length: int) -> str:
    full = int(_share(progress) * length)
    return "█" * full + "░" * (length - full)
