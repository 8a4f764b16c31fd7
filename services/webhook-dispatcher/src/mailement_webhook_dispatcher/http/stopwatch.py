"""How long each phase of an attempt took."""

from __future__ import annotations

from time import perf_counter

from mailement_webhook_dispatcher.http.exchange import Phases


class Stopwatch:
    """Whole milliseconds, written by whoever goes through the phase, also when it fails. None: not entered."""

    __slots__ = ("body", "connect", "dns", "first_byte", "tls")

    def __init__(self) -> None:
        self.dns: int | None = None
        self.connect: int | None = None
        self.tls: int | None = None
        self.first_byte: int | None = None
        self.body: int | None = None

    def phases(self) -> Phases:
        return Phases(
            dns=self.dns, connect=self.connect, tls=self.tls, first_byte=self.first_byte, body=self.body
        )


def milliseconds_since(started: float) -> int:
    """`started`: a reading of `perf_counter`."""
    return round((perf_counter() - started) * 1000)
