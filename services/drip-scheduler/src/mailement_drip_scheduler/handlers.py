"""Event → function. A batch is handled in one transaction and may be repeated without effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import SubscriberId
from mailement_newsletter.usecases.start_drips import Signup, start_drips


@dataclass(slots=True)
class Work:
    """What a batch of events asks for."""

    signups: list[Signup] = field(default_factory=list)
    waiting: list[SubscriberId] = field(default_factory=list)


def _confirmed(event: Envelope, work: Work) -> None:
    work.signups.append(_signup(event, confirmed=True))
    work.waiting.append(SubscriberId(event.data["subscriber"]["id"]))


def _updated(event: Envelope, work: Work) -> None:
    if event.data["signup_topic_ids"]:
        work.signups.append(_signup(event, confirmed=False))


def _enrolled(event: Envelope, work: Work) -> None:
    # The confirmation may have been handled before the enrolment was committed.
    work.waiting.append(SubscriberId(event.data["subscriber_id"]))


HANDLERS: Final[Mapping[str, Callable[[Envelope, Work], None]]] = {
    EventType.SUBSCRIBER_CONFIRMED: _confirmed,
    EventType.SUBSCRIBER_UPDATED: _updated,
    EventType.DRIP_ENROLLED: _enrolled,
}


async def handle(connection: Connection, events: Sequence[Envelope]) -> int:
    """Within the caller's transaction; returns how many enrolments it started. Other types are of no concern."""
    work = Work()
    for event in events:
        if handler := HANDLERS.get(event.type):
            handler(event, work)
    return await start_drips(connection, work.signups, work.waiting)


def _signup(event: Envelope, *, confirmed: bool) -> Signup:
    return Signup(
        brand_id=event.brand_id,
        subscriber_id=SubscriberId(event.data["subscriber"]["id"]),
        confirmed=confirmed,
        topic_ids=tuple(event.data["signup_topic_ids"]),
    )
