"""A webhook receiver as an integrator would write it: raw body, HMAC, constant-time comparison."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mailement_common.health import EmbeddedServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One POST. `genuine`: its signature fits the secret."""

    event: str
    body: dict[str, Any]
    genuine: bool


class Receiver:
    """Listens until told to stop; hands each POST to `on_received`."""

    def __init__(self, *, host: str, port: int, on_received: Callable[[Received], None]) -> None:
        self._on_received = on_received
        self._secret = ""
        app = Starlette(routes=[Route("/webhook", self._receive, methods=["POST"])])
        self._server = EmbeddedServer(
            uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False, lifespan="off")
        )

    def expect_secret(self, secret: str) -> None:
        self._secret = secret

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self) -> asyncio.Task[None]:
        """Returns when it listens. Raises OSError."""
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        if serving.done():
            await serving
        return serving

    def stop(self) -> None:
        self._server.should_exit = True

    async def _receive(self, request: Request) -> Response:
        raw = await request.body()
        expected = "sha256=" + hmac.new(self._secret.encode(), raw, hashlib.sha256).hexdigest()
        genuine = hmac.compare_digest(expected, request.headers.get("x-mailement-signature", ""))
        body = orjson.loads(raw) if genuine else {}
        self._on_received(
            Received(event=request.headers.get("x-mailement-event", ""), body=body, genuine=genuine)
        )
        return Response(status_code=204 if genuine else 401)
