"""The secrets of stored endpoints, opened: for `webhook verify`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mailement_cli.session import Fault, database, key_ring
from mailement_common.db.pool import Connection
from mailement_common.sealing import CannotOpen, KeyRing
from mailement_newsletter.catalog.brands import find_brand
from mailement_webhooks.errors import NoEndpoint
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.secrets import secret_owner
from mailement_webhooks.usecases.list_endpoints import find_endpoint, list_endpoints
from mailement_webhooks.usecases.load_endpoints import EndpointAtWork, load_endpoints


async def secrets_of(*, brand: str | None, endpoint: int | None) -> dict[str, str]:
    """Active, staged and previous ones, by what they are and whose.

    Raises NotFound, NoEndpoint, EndpointNotFound, and Fault if one cannot be opened.
    """
    keys = key_ring()
    async with database() as connection:
        ids = [*await _of_brand(connection, brand), *await _by_id(connection, endpoint)]
        stored = await load_endpoints(connection, ids)
    try:
        return {label: secret for at_work in stored for label, secret in _opened(keys, at_work)}
    except CannotOpen as error:
        raise Fault(str(error)) from error


async def _of_brand(connection: Connection, brand: str | None) -> Sequence[EndpointId]:
    if brand is None:
        return []
    brand_id = (await find_brand(connection, brand)).id
    found = await list_endpoints(connection, brand_id=brand_id)
    if not found:
        raise NoEndpoint(brand_id)
    return [endpoint.id for endpoint in found]


async def _by_id(connection: Connection, endpoint: int | None) -> Sequence[EndpointId]:
    if endpoint is None:
        return []
    return [(await find_endpoint(connection, EndpointId(endpoint))).id]


def _opened(keys: KeyRing, stored: EndpointAtWork) -> Iterator[tuple[str, str]]:
    """Raises CannotOpen."""
    places = {
        "active": stored.secret_sealed,
        "staged": stored.secret_staged_sealed,
        "previous": stored.secret_previous_sealed,
    }
    for place, sealed in places.items():
        if sealed is not None:
            label = f"{place} secret of webhook {stored.endpoint.id}"
            yield label, keys.open(sealed, owner=secret_owner(stored.endpoint.id))
