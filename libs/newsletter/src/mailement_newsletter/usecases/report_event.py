"""Report an event: something a subscriber did elsewhere, by a name that the brand chooses. Drips start and end by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import EventId, SubscriberId
from mailement_newsletter.commands import ReportEvent
from mailement_newsletter.errors import SubscriberNotFound
from mailement_newsletter.usecases.who import identifiers

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    subscriber_id: SubscriberId
    event_id: EventId


async def report_event(pool: asyncpg.Pool, command: ReportEvent) -> Reported:
    """Carries the command out and commits. An id that was given before is answered as then, and nothing happens.

    Raises SubscriberNotFound.
    """
    row = await pool.fetchrow(
        SQL["report"],
        command.brand_id,
        *identifiers(command.who),
        command.name,
        dict(command.properties),
        command.traceparent,
        command.given_id,
    )
    if row is None:
        raise SubscriberNotFound
    return Reported(subscriber_id=SubscriberId(row["subscriber_id"]), event_id=EventId(row["event_id"]))
