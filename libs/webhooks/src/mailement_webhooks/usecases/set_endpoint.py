"""Set a brand's endpoint: the document's one URL per brand."""

from __future__ import annotations

import base64
import os
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId, BrandId
from mailement_common.sealing import KeyRing
from mailement_webhooks.database import Connection
from mailement_webhooks.endpoints import MAILEMENT_EVENT_TYPES, Endpoint, Profile
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.usecases.list_endpoints import endpoint_of

SQL: Final = queries_beside(__file__)

_SECRET_BYTES: Final = 32


async def set_endpoint(
    connection: Connection,
    keys: KeyRing,
    brand_id: BrandId,
    account_id: AccountId,
    url: str,
    *,
    guard: Guard,
) -> tuple[Endpoint, str]:
    """Makes or replaces the endpoint of a brand; returns it and its new secret, which nobody can read again.

    What still waits for the old URL goes to the new one. Raises UrlRefused.
    """
    guard.refuse_url(url)
    secret = "whsec_" + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()
    async with connection.transaction():
        await connection.execute(SQL["take_turn"], brand_id)
        endpoint_id = EndpointId(
            await connection.fetchval(SQL["current_or_next_id"], brand_id, Profile.MAILEMENT)
        )
        row = await connection.fetchrow(
            SQL["upsert"],
            endpoint_id,
            account_id,
            brand_id,
            Profile.MAILEMENT,
            url,
            keys.seal(secret, owner=secret_owner(endpoint_id)),
            list(MAILEMENT_EVENT_TYPES),
        )
    assert row is not None
    return endpoint_of(row), secret


def secret_owner(endpoint_id: EndpointId) -> str:
    """The row that an endpoint's secret is sealed for."""
    return f"webhook:{endpoint_id}"
