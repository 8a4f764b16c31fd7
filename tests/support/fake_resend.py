"""A stand-in for Resend's API that obeys its rules: keys, refusals, limits, and answers that get lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

API_KEY = "re_test_key"


@dataclass(slots=True)
class FakeResend:
    """`refusals`: answers for the next requests, (status, name, headers). `drop`: take mails, answer nothing.

    `slow`: mails are taken when it opens; `hold_answer`: they are taken at once and answered when it opens.
    """

    url: str = ""
    mails: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    refusals: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    drop: bool = False
    answer: bytes | None = None
    slow: asyncio.Event | None = None
    hold_answer: asyncio.Event | None = None
    _known: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)

    def refuse_next(self, status: int, name: str, **headers: str) -> None:
        self.refusals.append((status, name, headers))

    async def send(self, request: web.Request) -> web.Response:
        self.requests += 1
        if not request.headers.get("User-Agent"):
            return _fault(403, "invalid_access")
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return _fault(401, "missing_api_key")
        if self.refusals:
            status, name, headers = self.refusals.pop(0)
            return _fault(status, name, headers)
        body = await request.read()
        key = request.headers.get("Idempotency-Key", "")
        if key and not 1 <= len(key) <= 256:
            return _fault(400, "invalid_idempotency_key")
        mail = json.loads(body)
        if missing := {"from", "to", "subject"} - mail.keys():
            return _fault(422, "missing_required_field", message=f"Missing {missing}.")
        return await self._take(request, key, body, mail)

    async def _take(self, request: web.Request, key: str, body: bytes, mail: dict[str, Any]) -> web.Response:
        if key in self._running:
            return _fault(409, "concurrent_idempotent_requests")
        if key in self._known and self._known[key][0] != body:
            return _fault(409, "invalid_idempotent_request")
        self._running.add(key)
        try:
            if self.slow is not None:
                await self.slow.wait()
            if key not in self._known:
                self._known[key] = (body, str(uuid4()))
                self.mails.append(mail)
        finally:
            self._running.discard(key)
        if self.hold_answer is not None:
            await self.hold_answer.wait()
        if self.drop and request.transport is not None:
            request.transport.abort()
        if self.answer is not None:
            return web.Response(body=self.answer)
        return web.json_response({"id": self._known[key][1]})


def _fault(
    status: int, name: str, headers: dict[str, str] | None = None, *, message: str = "no"
) -> web.Response:
    body = {"statusCode": status, "name": name, "message": message}
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def fake_resend() -> AsyncIterator[FakeResend]:
    fake = FakeResend()
    app = web.Application()
    app.router.add_post("/emails", fake.send)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()
