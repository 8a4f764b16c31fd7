"""Subscribe: find or create, fill what is missing, reactivate, set topics, tell the bus. One round trip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import SubscriberId
from mailement_newsletter.commands import Subscribe
from mailement_newsletter.errors import BrandNotFound
from mailement_newsletter.rules.lifecycle import SubscriberStatus

SQL: Final = queries_beside(__file__)

# The statement sees nothing when another call inserts the same address between its look and its insert;
# the second try finds that row.
_TRIES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """`created`: the address was new to the brand. `changed`: an event was written."""

    subscriber_id: SubscriberId
    status: SubscriberStatus
    created: bool
    changed: bool
    unknown_tags: tuple[str, ...]


async def subscribe(pool: asyncpg.Pool, command: Subscribe) -> Subscribed:
    """Carries the command out and commits. Raises BrandNotFound."""
    asked = [_row(command)]
    for _ in range(_TRIES):
        row = await pool.fetchrow(SQL["subscribe"], asked)
        if row is not None:
            return Subscribed(
                subscriber_id=SubscriberId(row["id"]),
                status=SubscriberStatus(row["status"]),
                created=row["created"],
                changed=row["changed"],
                unknown_tags=tuple(row["unknown_tags"]),
            )
    raise BrandNotFound


def _row(command: Subscribe) -> dict[str, object]:
    row: dict[str, object] = {
        "seq": 0,
        "brand_id": command.brand_id,
        "email": command.address.typed,
        "email_key": command.address.key,
        "first_name": command.first_name,
        "last_name": command.last_name,
        "city": command.city,
        "source": command.source,
        "traceparent": command.traceparent,
    }
    if command.custom_fields:
        row["custom_fields"] = dict(command.custom_fields)
    if command.topic_ids is not None:
        row["topic_ids"] = command.topic_ids
    if command.tags:
        row["tags"] = command.tags
    if command.auto_confirm:
        row["auto_confirm"] = True
    return row
