"""Identifiers of the webhook tables."""

from __future__ import annotations

from typing import NewType

EndpointId = NewType("EndpointId", int)
DeliveryId = NewType("DeliveryId", int)
ReplayId = NewType("ReplayId", int)
# Counts the deliveries of one endpoint, from 1, without gaps.
Sequence = NewType("Sequence", int)
# 0 to 63: what the dispatchers divide among themselves.
Shard = NewType("Shard", int)
