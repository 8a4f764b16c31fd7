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
from mailement_newsletter.usecases.message_view import MessageView, view_of

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
    # One more than asked for tells whether there is another page.
    rows = await executor.fetch(
        _query(wanted),
        wanted.brand_id,
        before or _BEHIND_ALL,
        _MOST_LOOKED_AT,
        limit + 1,
        wanted.state,
        wanted.kind,
        wanted.drip_id,
        *([] if wanted.subscriber_id is None else [wanted.subscriber_id]),
    )
    found = [view_of(row) for row in rows if row["id"] is not None]
    if len(found) > limit:
        return MessagePage(messages=tuple(found[:limit]), before=found[limit - 1].id)
    end = rows[0]
    goes_on = end["looked"] == _MOST_LOOKED_AT
    return MessagePage(messages=tuple(found), before=MessageId(end["last_id"]) if goes_on else None)


def _query(wanted: MessageFilter) -> str:
    if wanted.subscriber_id is not None:
        return SQL["of_subscriber"]
    return SQL["in_trouble"] if wanted.state in _IN_TROUBLE else SQL["of_brand"]
