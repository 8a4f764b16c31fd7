"""Roll the rotation of a secret back by one step."""

from __future__ import annotations

from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.ids import BrandId
from mailement_webhooks.database import Executor
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.errors import WrongRotationStep
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.secrets import rotation_step
from mailement_webhooks.usecases.list_endpoints import find_endpoint

SQL: Final = queries_beside(__file__)


async def rollback_secret(
    executor: Executor, endpoint_id: EndpointId, *, brand_id: BrandId | None = None
) -> Endpoint:
    """Before the promotion the staged secret is dropped; after it the previous one is active again and the promoted one
    staged.

    Raises EndpointNotFound, WrongRotationStep (no rotation has begun).
    """
    done = await executor.fetchval(SQL["rollback"], endpoint_id, brand_id)
    endpoint = await find_endpoint(executor, endpoint_id, brand_id=brand_id)
    if done is None:
        raise WrongRotationStep(rotation_step(endpoint))
    return endpoint
