"""List a brand's messages, in pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.ids import DripId, MessageId
from mailement_newsletter.rules.messages import MessageState
from mailement_newsletter.rules.senders import MailKind
from mailement_newsletter.usecases.message_view import MessageView, load_messages

SQL: Final = queries_beside(__file__)

# Whoever looks for what there is hardly any of, goes through a long past in so many pages.
_MOST_LOOKED_AT: Final = 5_000
_BEHIND_ALL: Final = MessageId(2**63 - 1)
_IN_TROUBLE: Final = frozenset({MessageState.FAILED, MessageState.UNCERTAIN})


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """None: any."""

    brand_id: BrandId
    subscriber_id: SubscriberId | None = None
    drip_id: DripId | None = None
    kind: MailKind | None = None
    state: MessageState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePage:
    """`before` leads to the next page of the same list; None: this is the last.

    A page that has fewer messages than were asked for, or none, and yet a `before`, has looked at as many as a page looks
    at: what is wanted may be behind them.
    """

    messages: tuple[MessageView, ...]
    before: MessageId | None


async def list_messages(
    executor: asyncpg.Pool | Connection,
    wanted: MessageFilter,
    *,
    limit: int = 50,
    before: MessageId | None = None,
) -> MessagePage:
    """The newest first. However much there is, a page costs no more than to look at some thousand."""
    page, end_of_page, owner = _walk(wanted)
    start = (owner, before or _BEHIND_ALL, _MOST_LOOKED_AT)
    details: list[object] = [wanted.state, wanted.kind, wanted.drip_id]
    if wanted.subscriber_id is not None:
        details.append(wanted.brand_id)
    # One more than asked for tells whether there is another page.
    ids = [row["id"] for row in await executor.fetch(page, *start, limit + 1, *details)]
    if len(ids) > limit:
        end = ids[limit - 1]
    else:
        end = await executor.fetchval(end_of_page, *start)
    messages = await load_messages(executor, ids[:limit], brand_id=wanted.brand_id)
    return MessagePage(messages=tuple(messages), before=end)


def _walk(wanted: MessageFilter) -> tuple[str, str, BrandId | SubscriberId]:
    """The query that looks through a list, the one that finds where it stopped, and whose the list is."""
    if wanted.subscriber_id is not None:
        return SQL["of_subscriber"], SQL["end_of_subscriber"], wanted.subscriber_id
    if wanted.state in _IN_TROUBLE:
        return SQL["in_trouble"], SQL["end_of_trouble"], wanted.brand_id
    return SQL["of_brand"], SQL["end_of_brand"], wanted.brand_id
