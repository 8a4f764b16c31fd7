from __future__ import annotations

from fnmatch import fnmatch
from uuid import uuid4

from mailement_common.bus.topology import MAILER
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import BrandId, EventId
from mailement_mailer.handlers import HANDLERS, handler_for
from tests.support.mails import NOON


class Sleeper:
    woken = 0

    def wake(self) -> None:
        self.woken += 1


def event(kind: str) -> Envelope:
    return Envelope(id=EventId(uuid4()), type=kind, brand_id=BrandId(1), occurred_at=NOON, data={})


async def test_queued_messages_wake_the_mailroom_once_for_a_batch() -> None:
    sleeper = Sleeper()
    await handler_for(sleeper)([event(EventType.MESSAGE_QUEUED)] * 3)
    assert sleeper.woken == 1


async def test_other_events_are_left_alone() -> None:
    sleeper = Sleeper()
    await handler_for(sleeper)([event("message.opened")])
    assert sleeper.woken == 0


def test_the_queue_hears_everything_that_has_a_handler() -> None:
    assert all(any(fnmatch(kind, pattern) for pattern in MAILER.hears) for kind in HANDLERS)
