"""Set a brand's endpoint: the short way to the document's one URL per brand."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId, BrandId
from mailement_common.sealing import KeyRing
from mailement_webhooks.database import Connection
from mailement_webhooks.endpoints import MAILEMENT_EVENT_TYPES, Endpoint, Profile, RetryMode
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.secrets import new_secret, secret_owner
from mailement_webhooks.usecases.enable_endpoint import start_afresh
from mailement_webhooks.usecases.list_endpoints import find_endpoint

SQL: Final = queries_beside(__file__)


async def set_endpoint(
    connection: Connection,
    keys: KeyRing,
    brand_id: BrandId,
    account_id: AccountId,
    url: str,
    *,
    guard: Guard,
    retries: RetryMode | None = None,
) -> tuple[Endpoint, str]:
    """Makes the brand's first endpoint, or replaces its URL and secret and enables it; returns it and the new secret,
    which nobody can read again.

    What still waits for the old URL goes to the new one. `retries` None: as it was, and for a new one the schedule.
    Raises UrlRefused.
    """
    guard.refuse_url(url)
    secret = new_secret()
    async with connection.transaction():
        await connection.execute(SQL["take_turn"], brand_id)
        endpoint_id = EndpointId(
            await connection.fetchval(SQL["current_or_next_id"], brand_id, Profile.MAILEMENT)
        )
        await connection.execute(
            SQL["upsert"],
            endpoint_id,
            account_id,
            brand_id,
            Profile.MAILEMENT,
            url,
            keys.seal(secret, owner=secret_owner(endpoint_id)),
            list(MAILEMENT_EVENT_TYPES),
            retries,
        )
        await start_afresh(connection, endpoint_id)
        return await find_endpoint(connection, endpoint_id), secret
