"""Identifiers of the webhook tables."""

from __future__ import annotations

from typing import NewType

EndpointId = NewType("EndpointId", int)
DeliveryId = NewType("DeliveryId", int)
