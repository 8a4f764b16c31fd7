"""A brand's drips over HTTP, with a key that may change them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from mailement_common.ids import SubscriberId
from mailement_newsletter.catalog.keys import create_key
from mailement_newsletter.commands import ById, Enroll
from mailement_newsletter.rules.scopes import KeyScope
from mailement_newsletter.usecases.enroll import enroll
from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import READER, Tenant

BASE = "/api/v1"
MAIL = {"label": "hello", "subject": "Hello", "text": "Hello."}
LATER = {"label": "later", "delay": "1 day", "subject": "Later", "text": "Hello."}
DRIP = {"name": "Course", "steps": [MAIL, LATER]}

# Every path and its methods; `{id}` as in the documentation.
METHODS: Mapping[str, tuple[str, ...]] = {
    "/drips": ("GET", "POST"),
    "/drips/{id}": ("GET", "PATCH", "PUT"),
    "/drips/{id}/preview": ("POST",),
    "/drips/{id}/pause": ("POST",),
    "/drips/{id}/resume": ("POST",),
    "/drips/{id}/archive": ("POST",),
    "/drips/{id}/retry": ("POST",),
    "/drips/{id}/runs": ("GET",),
    "/drips/{id}/stats": ("GET",),
    "/drips/{id}/simulate": ("GET",),
    "/runs": ("GET",),
    "/runs/{id}": ("GET",),
    "/runs/{id}/explain": ("GET",),
    "/runs/{id}/exit": ("POST",),
    "/events": ("POST",),
}
CALLS = tuple((method, path) for path, methods in METHODS.items() for method in methods)
# The least that a call takes.
BODIES: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("POST", "/drips"): {**DRIP, "name": "Another"},
    ("PUT", "/drips/{id}"): DRIP,
    ("PATCH", "/drips/{id}"): {"max_per_hour": 60},
    ("POST", "/drips/{id}/preview"): {"max_per_hour": 60},
    ("POST", "/events"): {"email": READER, "event": "order.paid"},
}
# What a call cannot do without behind the question mark.
QUERIES: Mapping[str, str] = {"/runs": f"?subscriber={quote(READER)}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drips:
    """`get`, `post`, `put`, `patch` are below `/api/v1`, with a key of every scope."""

    api: ApiUnderTest
    brand: Tenant
    key: str

    @classmethod
    async def of(cls, api: ApiUnderTest, brand: Tenant) -> Drips:
        async with brand.pool.acquire() as connection:
            made = await create_key(connection, brand.brand, name="drips", scopes=list(KeyScope))
        return cls(api=api, brand=brand, key=made.key)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        key: str | None = None,
    ) -> Answer:
        headers = {} if body is None else {"Content-Type": "application/json"}
        return await self.api.request(
            method,
            BASE + path,
            raw=raw if body is None else orjson.dumps(body),
            key=key or self.key,
            headers=headers,
        )

    async def get(self, path: str) -> Any:
        return self._good(await self.call("GET", path))

    async def post(self, path: str, body: object = None) -> Any:
        return self._good(await self.call("POST", path, body))

    async def put(self, path: str, body: object) -> Any:
        return self._good(await self.call("PUT", path, body))

    async def patch(self, path: str, body: object) -> Any:
        return self._good(await self.call("PATCH", path, body))

    async def make(self, **given: object) -> Any:
        return (await self.post("/drips", {**DRIP, **given}))["drip"]

    async def put_in(self, drip: int, email: str = READER) -> SubscriberId:
        subscriber = await self.brand.subscriber(email)
        await enroll(
            self.brand.pool,
            Enroll(brand_id=self.brand.id, drip_id=drip, who=ById(subscriber_id=subscriber)),
        )
        return subscriber

    async def run_id(self) -> int:
        return int((await self.brand.enrollments())[-1]["id"])

    @staticmethod
    def _good(answer: Answer) -> Any:
        assert answer.status == 200, answer.raw
        assert answer.body["success"] is True
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers
        return answer.body
