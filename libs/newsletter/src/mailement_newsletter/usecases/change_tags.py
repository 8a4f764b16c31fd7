"""Change tags: add and remove memberships by slug. Starts no drip: v1 triggers fire at signup only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.sql import queries_beside
from mailement_common.ids import SubscriberId
from mailement_newsletter.commands import ChangeTags
from mailement_newsletter.errors import SubscriberNotFound
from mailement_newsletter.usecases.who import identifiers

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsChanged:
    """The ids of the topics that really came and went."""

    subscriber_id: SubscriberId
    added: tuple[int, ...]
    removed: tuple[int, ...]
    unknown_tags: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return bool(self.added or self.removed)


async def change_tags(pool: asyncpg.Pool, command: ChangeTags) -> TagsChanged:
    """Carries the command out and commits. Raises SubscriberNotFound."""
    row = await pool.fetchrow(
        SQL["change_tags"],
        command.brand_id,
        *identifiers(command.who),
        command.add,
        command.remove,
        command.traceparent,
    )
    if row is None:
        raise SubscriberNotFound
    return TagsChanged(
        subscriber_id=SubscriberId(row["id"]),
        added=tuple(row["added"]),
        removed=tuple(row["removed"]),
        unknown_tags=tuple(row["unknown_tags"]),
    )
