"""Set a brand's endpoint: the short way to the document's one URL per brand."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId, BrandId
from mailement_common.sealing import KeyRing
from mailement_webhooks.database import Connection
from mailement_webhooks.endpoints import MAILEMENT_EVENT_TYPES, Endpoint, Profile, RetryMode
from mailement_webhooks.errors import EndpointNotFound, SeveralEndpoints
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
    endpoint_id: EndpointId | None = None,
) -> tuple[Endpoint, str]:
    """Makes the brand's one endpoint, or replaces its URL and secret and enables it; returns it and the new secret,
    which nobody can read again.

    What still waits for the old URL goes to the new one. `retries` None: as it was, and for a new one the schedule.
    `endpoint_id`: which one is meant, where the brand has several.
    Raises UrlRefused, SeveralEndpoints, EndpointNotFound.
    """
    guard.refuse_url(url)
    secret = new_secret()
    async with connection.transaction():
        await connection.execute(SQL["take_turn"], brand_id)
        meant = await _current_or_next(connection, brand_id, endpoint_id)
        await connection.execute(
            SQL["upsert"],
            meant,
            account_id,
            brand_id,
            Profile.MAILEMENT,
            url,
            keys.seal(secret, owner=secret_owner(meant)),
            list(MAILEMENT_EVENT_TYPES),
            retries,
        )
        await start_afresh(connection, meant)
        return await find_endpoint(connection, meant), secret


async def _current_or_next(
    connection: Connection, brand_id: BrandId, wanted: EndpointId | None
) -> EndpointId:
    rows = await connection.fetch(SQL["current"], brand_id, Profile.MAILEMENT)
    found = [EndpointId(row["id"]) for row in rows]
    if wanted is not None:
        if wanted not in found:
            raise EndpointNotFound(wanted)
        return wanted
    if len(found) > 1:
        raise SeveralEndpoints(found)
    return found[0] if found else EndpointId(await connection.fetchval(SQL["next_id"]))
