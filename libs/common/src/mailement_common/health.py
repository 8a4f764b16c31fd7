"""Liveness, readiness and metrics, on a port of their own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typing_extensions import override

from mailement_common.logs import logger
from mailement_common.settings import ServiceSettings

# A dependency that does not answer by then counts as away.
_CHECK_SECONDS: Final = 2

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    ok: bool
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`required`: without it the service is not ready; otherwise it is only reported."""

    run: Callable[[], Awaitable[CheckResult]]
    required: bool = True


@dataclass(slots=True)
class Health:
    """What `/readyz` reports. `draining` is set when the service has been told to stop."""

    checks: dict[str, Check] = field(default_factory=dict)
    draining: bool = False

    async def readiness(self) -> tuple[bool, Mapping[str, object]]:
        names = list(self.checks)
        results = await asyncio.gather(*(_run(self.checks[name]) for name in names))
        report: dict[str, object] = {
            name: {
                "ok": result.ok,
                "required": self.checks[name].required,
                **({"detail": result.detail} if result.detail else {}),
            }
            for name, result in zip(names, results, strict=True)
        }
        report["draining"] = self.draining
        # Without a check nothing has been started yet.
        ready = (
            bool(names)
            and not self.draining
            and all(
                result.ok for name, result in zip(names, results, strict=True) if self.checks[name].required
            )
        )
        return ready, report


class CannotListen(OSError):
    """The address is not this machine's, or the port is somebody else's."""


class EmbeddedServer(uvicorn.Server):
    """A server inside a process that handles its signals, and its failures, itself."""

    @override
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises CannotListen, where uvicorn would leave the process."""
        try:
            await super().serve(sockets)
        except SystemExit as error:
            raise CannotListen(f"cannot listen on {self.config.host}:{self.config.port}") from error

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            log.info("http.listening", host=self.config.host, port=self.port)

    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        yield

    @property
    def port(self) -> int:
        """The port in use; tells which one it became when 0 was asked for."""
        address: tuple[str, int] = self.servers[0].sockets[0].getsockname()
        return address[1]


def health_routes(health: Health) -> list[Route]:
    """`/healthz`: this process lives. `/readyz`: it can work; 503 with the reasons when not."""

    async def healthz(_: Request) -> Response:
        return Response(b'{"ok":true}', media_type="application/json")

    async def readyz(_: Request) -> Response:
        ready, checks = await health.readiness()
        body = orjson.dumps({"ready": ready, "checks": checks})
        return Response(body, status_code=200 if ready else 503, media_type="application/json")

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


def ops_server(settings: ServiceSettings, health: Health) -> EmbeddedServer:
    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app = Starlette(routes=[*health_routes(health), Route("/metrics", metrics)])
    return EmbeddedServer(
        uvicorn.Config(
            app,
            host=settings.ops_host,
            port=settings.ops_port,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
        )
    )


async def _run(check: Check) -> CheckResult:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await check.run()
    except Exception as error:  # noqa: BLE001  a check that fails is a result
        return CheckResult(ok=False, detail=type(error).__name__)
