"""From event to function. The mailer learns from events only that there is work; what is due stands in the ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType


class Sleeper(Protocol):
    def wake(self) -> None: ...


def look_for_mail(sleeper: Sleeper) -> None:
    sleeper.wake()


HANDLERS: Final[Mapping[str, Callable[[Sleeper], None]]] = {EventType.MESSAGE_QUEUED: look_for_mail}


def handler_for(sleeper: Sleeper) -> Callable[[Sequence[Envelope]], Awaitable[None]]:
    """What the consumer calls: each type of event once for a batch; types without a row are not for the mailer."""

    async def handle(events: Sequence[Envelope]) -> None:
        for event_type in {event.type for event in events} & HANDLERS.keys():
            HANDLERS[event_type](sleeper)

    return handle
