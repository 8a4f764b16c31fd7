"""Retry a message that has come to a bad end, because an operator wishes it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_newsletter.errors import MessageCannotBeRetried, MessageNotFound
from mailement_newsletter.ids import MessageId
from mailement_newsletter.rules.mail_keys import KEPT
from mailement_newsletter.rules.messages import MessageState

SQL: Final = queries_beside(__file__)


class Retried(StrEnum):
    """How it goes out again. `anew`: composed again, under a new key. `as_it_is`: the same bytes; it may arrive twice.
    `under_its_key`: the same bytes under a key that the provider knows, so it arrives once. `with_its_batch`: likewise,
    with all that went out with it.
    """

    ANEW = "anew"
    AS_IT_IS = "as_it_is"
    UNDER_ITS_KEY = "under_its_key"
    WITH_ITS_BATCH = "with_its_batch"


async def retry_message(connection: Connection, message_id: MessageId, *, brand_id: BrandId) -> Retried:
    """For a `failed` or `uncertain` message. The dedupe key stays; whoever has left since gets no mail.

    Raises MessageNotFound, MessageCannotBeRetried.
    """
    async with connection.transaction():
        locked = await connection.fetch(SQL["find"], message_id, brand_id, list(KEPT), list(KEPT.values()))
        found = next((row for row in locked if row["id"] == message_id), None)
        if found is None:
            raise MessageNotFound
        match MessageState(found["state"]):
            case MessageState.FAILED:
                way = Retried.ANEW
                rows = await connection.fetch(SQL["anew"], message_id)
            case MessageState.UNCERTAIN if found["key_is_known"] and found["batch_id"] is not None:
                way = Retried.WITH_ITS_BATCH
                rows = await connection.fetch(SQL["with_its_batch"], found["batch_id"])
            case MessageState.UNCERTAIN:
                way = Retried.UNDER_ITS_KEY if found["key_is_known"] else Retried.AS_IT_IS
                rows = await connection.fetch(SQL["as_it_is"], message_id, found["key_is_known"])
            case state:
                raise MessageCannotBeRetried(state)
        await connection.execute(
            SQL["uncount"],
            [row["drip_id"] for row in rows],
            [row["drip_step_id"] for row in rows],
            found["state"],
        )
    return way
