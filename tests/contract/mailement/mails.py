"""A brand's messages over HTTP, and short ways to have some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from typing_extensions import override

from tests.contract.mailement.surface import Caller, Surface
from tests.support.api import ApiUnderTest
from tests.support.brands import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages(Caller):
    @classmethod
    @override
    async def of(cls, api: ApiUnderTest, brand: Tenant) -> Self:
        return cls(api=api, brand=brand, key=brand.key)

    async def make(self, state: str = "sent", kind: str = "drip", subscriber: int = 1, drip: int = 1) -> int:
        made: int = await self.brand.pool.fetchval(
            """INSERT INTO messages (brand_id, subscriber_id, kind, drip_id, dedupe_key, state, payload, provider, attempts)
            VALUES ($1, $2, $3, $4, gen_random_uuid()::text, $5, '{"subject": "Hello"}', 'resend', 2) RETURNING id""",
            self.brand.id,
            subscriber,
            kind,
            drip,
            state,
        )
        await self.brand.pool.execute(
            """INSERT INTO message_attempts (message_id, number, started_at, provider, outcome, code, reason, duration_ms)
            VALUES ($1, 1, now(), 'resend', 'retry', '500', '500 application_error: no', 12),
            ($1, 2, now(), 'resend', 'sent', NULL, NULL, 34)""",
            made,
        )
        return made

    @override
    async def furnish(self, path: str = "") -> Mapping[str, int]:
        return {"messages": await self.make()}

    @override
    async def whisper(self) -> Sequence[str]:
        await self.call("GET", f"/messages/{await self.make()}?kind=geheim")
        await self.call("GET", "/messages?cursor=geheim")
        await self.call("GET", "/messages/geheim")
        return ["Hello", "application_error"]


MESSAGES = Surface(
    name="messages",
    caller=Messages,
    methods={"/messages": ("GET",), "/messages/{id}": ("GET",)},
    tables=("messages", "message_attempts"),
    noted="message_id",
    parameters=("state", "kind", "subscriber_id", "drip_id", "cursor", "limit"),
)
