"""Promote the staged secret: the second step of a rotation."""

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


async def promote_secret(
    executor: Executor, endpoint_id: EndpointId, *, brand_id: BrandId | None = None
) -> Endpoint:
    """The headers that carry one signature change to the new secret; `webhook-signature` has both.

    Raises EndpointNotFound, WrongRotationStep (nothing is staged).
    """
    done = await executor.fetchval(SQL["promote"], endpoint_id, brand_id)
    endpoint = await find_endpoint(executor, endpoint_id, brand_id=brand_id)
    if done is None:
        raise WrongRotationStep(rotation_step(endpoint))
    return endpoint
