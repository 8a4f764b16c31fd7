"""A message as people look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.ids import DripId, MessageId, RunId, StepId
from mailement_newsletter.rules.messages import MessageState
from mailement_newsletter.rules.senders import MailAccountId, MailKind, SenderId

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """`reason`: why it failed, waits or was cancelled. `subject` is there once the mail has been composed.

    `opened_at`, `clicked_at`: by a person; `machine_opened_at`: by a program that loads or follows ahead of him.
    """

    id: MessageId
    brand_id: BrandId
    subscriber_id: SubscriberId
    kind: MailKind
    drip_id: DripId | None
    step_id: StepId | None
    run_id: RunId | None
    state: MessageState
    reason: str | None
    attempts: int
    provider: str | None
    provider_message_id: str | None
    sender_id: SenderId | None
    account_id: MailAccountId | None
    subject: str | None = field(repr=False)
    not_before: datetime
    created_at: datetime
    first_attempt_at: datetime | None
    finished_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    machine_opened_at: datetime | None


async def load_messages(
    executor: asyncpg.Pool | Connection, ids: Sequence[MessageId], *, brand_id: BrandId
) -> list[MessageView]:
    """Those that are the brand's, the newest first."""
    if not ids:
        return []
    return [_view(row) for row in await executor.fetch(SQL["rows"], ids, brand_id)]


def _view(row: asyncpg.Record) -> MessageView:
    return MessageView(
        id=MessageId(row["id"]),
        brand_id=BrandId(row["brand_id"]),
        subscriber_id=SubscriberId(row["subscriber_id"]),
        kind=MailKind(row["kind"]),
        drip_id=None if row["drip_id"] is None else DripId(row["drip_id"]),
        step_id=None if row["drip_step_id"] is None else StepId(row["drip_step_id"]),
        run_id=None if row["enrollment_id"] is None else RunId(row["enrollment_id"]),
        state=MessageState(row["state"]),
        reason=row["error"],
        attempts=row["attempts"],
        provider=row["provider"],
        provider_message_id=row["provider_message_id"],
        sender_id=None if row["sender_id"] is None else SenderId(row["sender_id"]),
        account_id=None if row["mail_account_id"] is None else MailAccountId(row["mail_account_id"]),
        subject=row["subject"],
        not_before=row["not_before"],
        created_at=row["created_at"],
        first_attempt_at=row["first_attempt_at"],
        finished_at=row["finished_at"],
        opened_at=row["opened_at"],
        clicked_at=row["clicked_at"],
        machine_opened_at=row["machine_opened_at"],
    )
