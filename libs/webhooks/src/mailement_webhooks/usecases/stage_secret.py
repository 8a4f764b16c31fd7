"""Stage a new secret: the first step of a rotation."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_common.sealing import KeyRing
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.errors import WrongRotationStep
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.secrets import new_secret, rotation_step, secret_owner
from mailement_webhooks.usecases.list_endpoints import find_endpoint

SQL: Final = queries_beside(__file__)


async def stage_secret(
    executor: Executor, keys: KeyRing, endpoint_id: EndpointId, *, brand_id: BrandId | None = None
) -> tuple[Endpoint, str]:
    """Returns the endpoint and its next secret, which nobody can read again.

    It signs in `webhook-signature` beside the active one, so that the receiver can be given it without haste.
    Raises EndpointNotFound, WrongRotationStep (another rotation is not through).
    """
    secret = new_secret()
    sealed = keys.seal(secret, owner=secret_owner(endpoint_id))
    staged = await executor.fetchval(SQL["stage"], endpoint_id, brand_id, sealed)
    endpoint = await find_endpoint(executor, endpoint_id, brand_id=brand_id)
    if staged is None:
        raise WrongRotationStep(rotation_step(endpoint))
    return endpoint, secret
