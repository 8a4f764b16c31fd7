"""Note what was done with a mail: opened, or a link in it followed; by a person, or by a program ahead of him."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import asyncpg

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_newsletter.ids import MessageId

SQL: Final = queries_beside(__file__)


class Engagement(StrEnum):
    OPENED = "opened"
    CLICKED = "clicked"


async def note_engagement(
    executor: asyncpg.Pool | Connection,
    message_id: MessageId,
    what: Engagement,
    *,
    by_machine: bool,
    at: datetime,
) -> bool:
    """The first time counts, and a program's never as a person's. False: it was known, or there is no such message."""
    return await executor.fetchval(SQL["note"], message_id, what, by_machine, at) is not None
