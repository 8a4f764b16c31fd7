"""Wire → our words: ids in paths, and what stands behind the question mark."""

from __future__ import annotations

from collections.abc import Mapping

from mailement_api.dialects.mailement.query import id_cursor_of, row_id, word_of
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.ids import DripId, MessageId
from mailement_newsletter.rules.messages import MessageState
from mailement_newsletter.rules.senders import MailKind
from mailement_newsletter.usecases.list_messages import MessageFilter


def message_id_in(path: str) -> MessageId:
    """What is no number of ours is not found. Raises WireError."""
    return MessageId(row_id(path, "message_not_found"))


def parse_filter(brand: BrandId, query: Mapping[str, str]) -> MessageFilter:
    """Raises WireError."""
    subscriber, drip = _id_of(query, "subscriber_id"), _id_of(query, "drip_id")
    return MessageFilter(
        brand_id=brand,
        subscriber_id=None if subscriber is None else SubscriberId(subscriber),
        drip_id=None if drip is None else DripId(drip),
        kind=word_of(query, "kind", MailKind),
        state=word_of(query, "state", MessageState),
    )


def before_of(query: Mapping[str, str]) -> MessageId | None:
    """Raises WireError."""
    last = id_cursor_of(query)
    return None if last is None else MessageId(last)


def _id_of(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    return None if text is None else row_id(text, f"invalid_{name}")
