"""Whose turn it is at a destination: the waiting around `destinations`."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, assert_never

from mailement_mailer.providers.destinations import (
    ComeBack,
    Destination,
    Destinations,
    Go,
    Queue,
    Traffic,
)

# The queue is made for two seconds; a destination may have become slow meanwhile.
PATIENCE_SECONDS: Final = 5
_GATES: Final = 1_000


@dataclass(slots=True)
class _Gate:
    """A place in the queue is told True for `go`, False for `not now`."""

    traffic: Traffic
    places: deque[asyncio.Future[bool]] = field(default_factory=deque)

    def let_in(self, now: float) -> None:
        while self.places and self.traffic.advance(now):
            self.places.popleft().set_result(True)

    def send_away(self) -> None:
        while self.places:
            self.places.popleft().set_result(False)


@dataclass(slots=True)
class Turn:
    """The right to have one mail on its way to `destination`; it ends with `end`."""

    destination: Destination
    _gate: _Gate
    _since: float

    def rest(self, asked: float | None) -> float:
        """The destination has sent us away. Tells for how many seconds nothing goes there."""
        seconds = self._gate.traffic.rest(_now(), asked)
        self._gate.send_away()
        return seconds

    def end(self, *, answered: bool, taken: bool) -> None:
        now = _now()
        if answered:
            self._gate.traffic.done(now - self._since, taken=taken)
        else:
            self._gate.traffic.abandoned()
        self._gate.let_in(now)


class Turns:
    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._gates: dict[str, _Gate] = {}

    async def take(self, recipient: str) -> Turn | ComeBack:
        """A turn at the recipient's destination, waited for if it is near."""
        destination = self._destinations.of(recipient)
        gate = self._gate(destination)
        match gate.traffic.admit(_now()):
            case Go():
                return Turn(destination, gate, _now())
            case ComeBack() as later:
                return later
            case Queue():
                return await _wait(gate, destination)
            case other:
                assert_never(other)

    def _gate(self, destination: Destination) -> _Gate:
        gate = self._gates.get(destination.name)
        if gate is None:
            if len(self._gates) >= _GATES:
                self._forget()
            gate = self._gates[destination.name] = _Gate(Traffic(destination.limits))
        return gate

    def _forget(self) -> None:
        now = _now()
        for name in [name for name, gate in self._gates.items() if gate.traffic.forgettable(now)]:
            del self._gates[name]


async def _wait(gate: _Gate, destination: Destination) -> Turn | ComeBack:
    place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    gate.places.append(place)
    try:
        await asyncio.wait({place}, timeout=PATIENCE_SECONDS)
    except asyncio.CancelledError:
        _step_out(gate, place)
        raise
    if place.done() and place.result():
        return Turn(destination, gate, _now())
    if not place.done():
        gate.places.remove(place)
    return gate.traffic.give_up(_now())


def _step_out(gate: _Gate, place: asyncio.Future[bool]) -> None:
    if not place.done():
        gate.places.remove(place)
    if place.done() and place.result():
        gate.traffic.abandoned()
        gate.let_in(_now())
    else:
        gate.traffic.leave()


def _now() -> float:
    return asyncio.get_running_loop().time()
