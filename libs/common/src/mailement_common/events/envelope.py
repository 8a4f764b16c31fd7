"""How an event travels: a JSON body for the facts, AMQP headers for what machinery needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from mailement_common.ids import BrandId, EventId


class NotAnEnvelope(Exception):
    """The bytes are not an event of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One event. Copies carry the same id and the same body."""

    id: EventId
    type: str
    brand_id: BrandId
    occurred_at: datetime
    data: dict[str, Any]
    traceparent: str | None = None

    def body(self) -> bytes:
        return orjson.dumps(
            {
                "id": str(self.id),
                "type": self.type,
                "brand_id": self.brand_id,
                "occurred_at": self.occurred_at,
                "data": self.data,
            }
        )

    @classmethod
    def parse(cls, body: bytes, *, traceparent: str | None = None) -> Envelope:
        """Raises NotAnEnvelope."""
        try:
            raw = orjson.loads(body)
            return cls(
                id=EventId(UUID(str(raw["id"]))),
                type=str(raw["type"]),
                brand_id=BrandId(int(raw["brand_id"])),
                occurred_at=datetime.fromisoformat(raw["occurred_at"]),
                data=dict(raw["data"]),
                traceparent=traceparent,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise NotAnEnvelope(str(error)) from error
