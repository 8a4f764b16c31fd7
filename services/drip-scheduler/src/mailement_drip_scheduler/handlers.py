"""Event → function. A batch is handled in one transaction and may be repeated without effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.events.envelope import Envelope
from mailement_common.events.types import EventType
from mailement_common.ids import SubscriberId
from mailement_newsletter.usecases.end_runs import Farewell, end_runs
from mailement_newsletter.usecases.plan_dates import plan_dates
from mailement_newsletter.usecases.retime_subscribers import retime_subscribers
from mailement_newsletter.usecases.start_drips import Occasion, start_drips


@dataclass(slots=True)
class Work:
    """What a batch of events asks for."""

    occasions: list[Occasion] = field(default_factory=list)
    farewells: list[Farewell] = field(default_factory=list)
    waiting: list[SubscriberId] = field(default_factory=list)
    changed: list[SubscriberId] = field(default_factory=list)

    def add(self, other: Work) -> None:
        self.occasions += other.occasions
        self.farewells += other.farewells
        self.waiting += other.waiting
        self.changed += other.changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    enrolled: int
    ended: int


def _confirmed(event: Envelope, work: Work) -> None:
    work.occasions.append(_signup(event, confirmed=True))
    work.waiting.append(_subscriber(event))
    _updated_otherwise(event, work)


def _updated(event: Envelope, work: Work) -> None:
    if event.data["signup_topic_ids"]:
        work.occasions.append(_signup(event, confirmed=False))
    _updated_otherwise(event, work)


def _updated_otherwise(event: Envelope, work: Work) -> None:
    work.changed.append(_subscriber(event))
    # Events of the previous release do not tell.
    if removed := event.data.get("removed_topic_ids"):
        work.farewells.append(
            Farewell(
                happened_at=event.occurred_at,
                brand_id=event.brand_id,
                subscriber_id=_subscriber(event),
                removed_topic_ids=tuple(removed),
            )
        )


def _left(event: Envelope, work: Work) -> None:
    subscriber = _subscriber(event)
    work.changed.append(subscriber)
    work.farewells.append(
        Farewell(
            happened_at=event.occurred_at,
            brand_id=event.brand_id,
            subscriber_id=subscriber,
            left_as=event.type.rpartition(".")[2],
        )
    )


def _reported(event: Envelope, work: Work) -> None:
    name, subscriber = event.data["event"]["name"], _subscriber(event)
    # Ended first: the event that is one drip's goal may begin the same drip anew.
    work.farewells.append(
        Farewell(happened_at=event.occurred_at, brand_id=event.brand_id, subscriber_id=subscriber, event=name)
    )
    work.occasions.append(
        Occasion(
            cause=event.id,
            happened_at=event.occurred_at,
            brand_id=event.brand_id,
            subscriber_id=subscriber,
            event=name,
        )
    )


def _enrolled(event: Envelope, work: Work) -> None:
    # The confirmation may have been handled before the enrolment was committed.
    work.waiting.append(SubscriberId(event.data["subscriber_id"]))


HANDLERS: Final[Mapping[str, Callable[[Envelope, Work], None]]] = {
    EventType.SUBSCRIBER_CONFIRMED: _confirmed,
    EventType.SUBSCRIBER_UPDATED: _updated,
    EventType.SUBSCRIBER_UNSUBSCRIBED: _left,
    EventType.SUBSCRIBER_BOUNCED: _left,
    EventType.SUBSCRIBER_COMPLAINED: _left,
    EventType.EVENT_REPORTED: _reported,
    EventType.DRIP_ENROLLED: _enrolled,
}


async def handle(connection: Connection, events: Sequence[Envelope]) -> Done:
    """Within the caller's transaction. Other types are of no concern."""
    enrolled = ended = 0
    for work in portions(events):
        ended += await end_runs(connection, work.farewells)
        enrolled += await start_drips(connection, work.occasions, work.waiting)
        await plan_dates(connection, work.changed)
        await retime_subscribers(connection, work.changed)
    return Done(enrolled=enrolled, ended=ended)


def portions(events: Sequence[Envelope]) -> Iterator[Work]:
    """What the events ask for. Of one subscriber, what ends runs comes in a later portion than what started them."""
    work = Work()
    for event in events:
        handler = HANDLERS.get(event.type)
        if handler is None:
            continue
        asked = Work()
        handler(event, asked)
        if {each.subscriber_id for each in asked.farewells} & {each.subscriber_id for each in work.occasions}:
            yield work
            work = Work()
        work.add(asked)
    yield work


def _signup(event: Envelope, *, confirmed: bool) -> Occasion:
    return Occasion(
        cause=event.id,
        happened_at=event.occurred_at,
        brand_id=event.brand_id,
        subscriber_id=_subscriber(event),
        confirmed=confirmed,
        topic_ids=tuple(event.data["signup_topic_ids"]),
    )


def _subscriber(event: Envelope) -> SubscriberId:
    return SubscriberId(event.data["subscriber"]["id"])
