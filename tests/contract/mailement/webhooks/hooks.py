"""A brand's webhooks over HTTP, with a ledger behind them that is worked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tests.support.api import Answer, ApiUnderTest
from tests.support.brands import Tenant
from tests.support.delivery_ledger import DeliveryLedger

URL = "https://receiver.example/hook"
BASE = "/api/v1/webhooks"

# Every path and its methods; `{id}` as in the documentation.
METHODS: Mapping[str, tuple[str, ...]] = {
    "/endpoints": ("GET", "POST"),
    "/endpoints/{id}": ("DELETE", "GET", "PATCH"),
    "/endpoints/{id}/pause": ("POST",),
    "/endpoints/{id}/enable": ("POST",),
    "/endpoints/{id}/secret/stage": ("POST",),
    "/endpoints/{id}/secret/promote": ("POST",),
    "/endpoints/{id}/secret/retire": ("POST",),
    "/endpoints/{id}/secret/rollback": ("POST",),
    "/deliveries": ("GET",),
    "/deliveries/{id}": ("GET",),
    "/deliveries/{id}/resend": ("POST",),
    "/deliveries/{id}/explain": ("GET",),
    "/deliveries/{id}/payload": ("DELETE",),
    "/events": ("GET",),
    "/replays": ("GET", "POST"),
    "/replays/{id}": ("GET", "PATCH"),
    "/replays/{id}/pause": ("POST",),
    "/replays/{id}/resume": ("POST",),
    "/replays/{id}/cancel": ("POST",),
}
CALLS = tuple((method, path) for path, methods in METHODS.items() for method in methods)
# The least that a call takes.
BODIES: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("POST", "/endpoints"): {"url": URL},
    ("PATCH", "/replays/{id}"): {"rate_per_second": 1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """`get`, `post`, `patch`, `delete` are below `/api/v1/webhooks`, with the brand's key."""

    api: ApiUnderTest
    brand: Tenant
    ledger: DeliveryLedger

    @classmethod
    def of(cls, api: ApiUnderTest, brand: Tenant) -> Hooks:
        ledger = DeliveryLedger(pool=brand.pool, account_id=brand.brand.account_id, brand_id=brand.id)
        return cls(api=api, brand=brand, ledger=ledger)

    async def call(self, method: str, path: str, body: object = None, *, raw: bytes | None = None) -> Answer:
        headers = {} if body is None else {"Content-Type": "application/json"}
        return await self.api.request(
            method,
            BASE + path,
            raw=raw if body is None else orjson.dumps(body),
            key=self.brand.key,
            headers=headers,
        )

    async def get(self, path: str) -> Any:
        return self._good(await self.call("GET", path))

    async def post(self, path: str, body: object = None) -> Any:
        return self._good(await self.call("POST", path, body))

    async def patch(self, path: str, body: object) -> Any:
        return self._good(await self.call("PATCH", path, body))

    async def delete(self, path: str) -> Any:
        return self._good(await self.call("DELETE", path))

    async def make(self, **given: object) -> Any:
        """An endpoint that is made over HTTP; the ledger knows it too."""
        made = (await self.post("/endpoints", {"url": URL, **given}))["endpoint"]
        self.ledger.endpoints.append(made["id"])
        return made

    @staticmethod
    def _good(answer: Answer) -> Any:
        assert answer.status == 200, answer.raw
        assert answer.body["success"] is True
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers
        return answer.body
