"""Change an endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Connection
from mailement_webhooks.endpoints import Endpoint, RetryMode
from mailement_webhooks.errors import EndpointNotFound
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.endpoint_settings import (
    check_description,
    check_event_types,
    check_max_in_flight,
    check_rate,
)
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.usecases.enable_endpoint import start_afresh
from mailement_webhooks.usecases.list_endpoints import find_endpoint

SQL: Final = queries_beside(__file__)


class Kept(Enum):
    """Stands where nothing shall change, because None means something."""

    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChanges:
    """What shall be; the profile never changes. None takes a description or a limit away."""

    url: str | Kept = Kept.KEPT
    event_types: tuple[str, ...] | Kept = Kept.KEPT
    description: str | Kept | None = Kept.KEPT
    retries: RetryMode | Kept = Kept.KEPT
    ordered: bool | Kept = Kept.KEPT
    max_in_flight: int | Kept | None = Kept.KEPT
    rate_per_second: float | Kept | None = Kept.KEPT


async def update_endpoint(
    connection: Connection,
    endpoint_id: EndpointId,
    changes: EndpointChanges,
    *,
    guard: Guard,
    brand_id: BrandId | None = None,
) -> Endpoint:
    """What waits goes to a new URL, which starts without the failures of the old one.

    Raises EndpointNotFound, UrlRefused, InvalidEndpoint.
    """
    async with connection.transaction():
        endpoint = await find_endpoint(connection, endpoint_id, brand_id=brand_id)
        changed = _changed(endpoint, changes, guard)
        if not changed:
            return endpoint
        found = await connection.fetchval(
            SQL["update"], endpoint_id, list(changed), *(changed.get(name) for name in _NAMES)
        )
        if found is None:
            raise EndpointNotFound(endpoint_id)
        if "url" in changed:
            await start_afresh(connection, endpoint_id)
        return await find_endpoint(connection, endpoint_id)


_NAMES: Final = tuple(field.name for field in fields(EndpointChanges))


def _changed(endpoint: Endpoint, changes: EndpointChanges, guard: Guard) -> Mapping[str, object]:
    """Checked, and without what is so already. Raises UrlRefused, InvalidEndpoint."""
    wanted: dict[str, object] = {}
    if not isinstance(changes.url, Kept):
        guard.refuse_url(changes.url)
        wanted["url"] = changes.url
    if not isinstance(changes.event_types, Kept):
        wanted["event_types"] = check_event_types(endpoint.profile, changes.event_types)
    if not isinstance(changes.description, Kept):
        wanted["description"] = check_description(changes.description)
    if not isinstance(changes.retries, Kept):
        wanted["retries"] = changes.retries
    if not isinstance(changes.ordered, Kept):
        wanted["ordered"] = changes.ordered
    if not isinstance(changes.max_in_flight, Kept):
        wanted["max_in_flight"] = check_max_in_flight(changes.max_in_flight)
    if not isinstance(changes.rate_per_second, Kept):
        wanted["rate_per_second"] = check_rate(changes.rate_per_second)
    return {name: value for name, value in wanted.items() if value != getattr(endpoint, name)}
