"""Create an endpoint: one of any number that a brand, or an account, may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import AccountId, BrandId
from mailement_common.sealing import KeyRing
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Endpoint, Profile, RetryMode
from mailement_webhooks.errors import OwnerNotFound, TooManyEndpoints
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.rules.endpoint_settings import (
    check_description,
    check_event_types,
    check_max_in_flight,
    check_rate,
)
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.rules.profiles import PROMISES
from mailement_webhooks.secrets import new_secret, secret_owner
from mailement_webhooks.usecases.list_endpoints import find_endpoint

SQL: Final = queries_beside(__file__)

# Every event is posted to each of them: a bound on what one signup can set off.
MOST_ENDPOINTS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    """`event_types` None: what the profile's document lists. Owner: either the brand, or the account for all its brands."""

    url: str
    brand_id: BrandId | None = None
    account_id: AccountId | None = None
    profile: Profile = Profile.MAILEMENT
    event_types: tuple[str, ...] | None = None
    description: str | None = None
    retries: RetryMode = RetryMode.SCHEDULE
    ordered: bool = False
    max_in_flight: int | None = None
    rate_per_second: float | None = None


async def create_endpoint(
    executor: Executor, keys: KeyRing, new: NewEndpoint, *, guard: Guard
) -> tuple[Endpoint, str]:
    """Returns the endpoint and its secret, which nobody can read again.

    Raises UrlRefused, InvalidEndpoint, OwnerNotFound, TooManyEndpoints.
    """
    guard.refuse_url(new.url)
    asked = PROMISES[new.profile].event_types if new.event_types is None else new.event_types
    event_types = check_event_types(new.profile, asked)
    description = check_description(new.description)
    max_in_flight, rate = check_max_in_flight(new.max_in_flight), check_rate(new.rate_per_second)
    endpoint_id = EndpointId(await executor.fetchval(SQL["next_id"]))
    secret = new_secret()
    made = await executor.fetchval(
        SQL["create"],
        endpoint_id,
        new.account_id,
        new.brand_id,
        new.profile,
        new.url,
        description,
        keys.seal(secret, owner=secret_owner(endpoint_id)),
        list(event_types),
        new.retries,
        new.ordered,
        max_in_flight,
        rate,
        MOST_ENDPOINTS,
    )
    if made is None:
        if await executor.fetchval(SQL["owner_exists"], new.account_id, new.brand_id):
            raise TooManyEndpoints(MOST_ENDPOINTS)
        raise OwnerNotFound
    return await find_endpoint(executor, endpoint_id), secret
