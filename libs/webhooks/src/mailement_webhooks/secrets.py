"""The secrets of an endpoint: made here, shown once, stored sealed."""

from __future__ import annotations

import base64
import os
from typing import Final

from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.errors import RotationStep
from mailement_webhooks.ids import EndpointId

_SECRET_BYTES: Final = 32


def new_secret() -> str:
    """`whsec_` and the base64 of 32 random bytes, as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()


def secret_owner(endpoint_id: EndpointId) -> str:
    """The row that all secrets of an endpoint are sealed for, so that a rotation moves them as they are."""
    return f"webhook:{endpoint_id}"


def rotation_step(endpoint: Endpoint) -> RotationStep:
    if endpoint.secret_staged_at is not None:
        return RotationStep.STAGED
    return RotationStep.SETTLED if endpoint.secret_promoted_at is None else RotationStep.PROMOTED
