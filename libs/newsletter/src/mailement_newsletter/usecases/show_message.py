"""Show a message and every attempt to send it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import MessageNotFound
from mailement_newsletter.ids import MessageId
from mailement_newsletter.rules.messages import AttemptOutcome
from mailement_newsletter.rules.senders import MailAccountId, SenderId
from mailement_newsletter.usecases.message_view import MessageView, load_messages

SQL: Final = queries_beside(__file__)

_MOST_ATTEMPTS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """`duration_ms` None: nobody was there any more to see the end."""

    number: int
    started_at: datetime
    provider: str
    account_id: MailAccountId | None
    sender_id: SenderId | None
    outcome: AttemptOutcome
    code: str | None
    reason: str | None
    duration_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReport:
    """`attempts` in their order, as far back as the history is kept; of very many, the last ones."""

    message: MessageView
    attempts: tuple[AttemptView, ...]


async def show_message(
    executor: asyncpg.Pool | Connection, message_id: MessageId, *, brand_id: BrandId
) -> MessageReport:
    """Raises MessageNotFound."""
    found = await load_messages(executor, [message_id], brand_id=brand_id)
    if not found:
        raise MessageNotFound
    attempts = await executor.fetch(SQL["attempts"], message_id, _MOST_ATTEMPTS)
    return MessageReport(
        message=found[0],
        attempts=tuple(
            AttemptView(
                number=each["number"],
                started_at=each["started_at"],
                provider=each["provider"],
                account_id=None
                if each["mail_account_id"] is None
                else MailAccountId(each["mail_account_id"]),
                sender_id=None if each["sender_id"] is None else SenderId(each["sender_id"]),
                outcome=AttemptOutcome(each["outcome"]),
                code=each["code"],
                reason=each["reason"],
                duration_ms=each["duration_ms"],
            )
            for each in reversed(attempts)
        ),
    )
