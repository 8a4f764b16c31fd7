"""From events to deliveries: which events are posted, and as what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import asyncpg

from mailement_common.bus.consumer import Handler
from mailement_common.events.envelope import Envelope
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.payload import body_for
from mailement_webhooks.rules.profiles import OPERATIONAL_EVENT_TYPES, wire_name
from mailement_webhooks.usecases.announce_due import announce_due
from mailement_webhooks.usecases.record_events import WebhookEvent, record_events


def ingest(
    pool: asyncpg.Pool,
    *,
    wake: Callable[[Collection[EndpointId]], None],
    is_ours: Callable[[EndpointId], bool],
) -> Handler:
    """The consumer's handler: one batch is one transaction.

    `wake` is told whom there are deliveries for; those that are not `ours` are announced to their owner as well.
    """

    async def handle(events: Sequence[Envelope]) -> None:
        posted = [post for event in events for post in posts_of(event)]
        if not posted:
            return
        async with pool.acquire() as connection, connection.transaction():
            heard = (await record_events(connection, posted)).endpoint_ids
            told = {endpoint_id for endpoint_id in heard if not is_ours(endpoint_id)}
            await announce_due(connection, told)
        wake(heard)
        # Whoever took them over meanwhile may have looked for what is due before this was committed.
        await announce_due(pool, [endpoint_id for endpoint_id in heard - told if not is_ours(endpoint_id)])

    return handle


def posts_of(event: Envelope) -> Iterator[WebhookEvent]:
    """The event as each profile posts it; nothing for one that no profile speaks of. Raises FactsMissing."""
    operational = event.type in OPERATIONAL_EVENT_TYPES
    for profile in Profile:
        name, body = wire_name(profile, event), body_for(profile, event)
        if name is not None and body is not None:
            yield WebhookEvent(
                id=event.id,
                profile=profile,
                brand_id=event.brand_id,
                type=name,
                body=body,
                occurred_at=event.occurred_at,
                order_key=None if operational else _id(event.data["subscriber"]),
                about_endpoint=EndpointId(_id(event.data["endpoint"])) if operational else None,
                traceparent=event.traceparent,
            )


def _id(facts: dict[str, Any]) -> int:
    return int(facts["id"])
