"""What every request carries, and the one line that tells of it. Pure ASGI: a BaseHTTPMiddleware would cost more
than the rest of the path together.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any, Final

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailement_common.ids import request_id, trace_id, traceparent
from mailement_common.logs import logger

_REQUESTS: Final = Counter("mailement_http_requests_total", "Requests answered.", ["endpoint", "status"])
_SECONDS: Final = Histogram(
    "mailement_http_request_seconds",
    "Time from the request's head to the last byte of the answer.",
    ["endpoint"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
# What is not a dialect's own answer; pages and probes land here.
_INTERNAL_ERROR: Final = Response(
    b'{"ok":false,"error":"internal_error"}', status_code=500, media_type="application/json"
)
# Probes ask every few seconds; a line for each would hide the others.
_SILENT: Final = frozenset({"/healthz", "/readyz"})

log = logger(__name__)


class RequestContext:
    """Gives a request its id and trace, echoes the id, logs one canonical line when it is answered.

    Handlers add fields to the line through `note`, and name themselves through `name_endpoint`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        offered = {
            name: value for name, value in scope["headers"] if name in (b"x-request-id", b"traceparent")
        }
        identity = request_id(_text(offered.get(b"x-request-id")))
        parent = traceparent(_text(offered.get(b"traceparent")))
        line: dict[str, Any] = {}
        scope["mailement.line"] = line
        scope["mailement.traceparent"] = parent
        # Probes are the machinery's own and cannot name themselves to us.
        scope["mailement.endpoint"] = scope["path"] if scope["path"] in _SILENT else "unknown"
        status, answered = 500, False
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                MutableHeaders(raw=message["headers"])["X-Request-ID"] = identity
            await send(message)

        # Every request runs in a context of its own, so nothing has to be taken back.
        structlog.contextvars.bind_contextvars(request_id=identity, trace_id=trace_id(parent))
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("request.failed", endpoint=scope["mailement.endpoint"])
            if answered:
                raise
            await _INTERNAL_ERROR(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            endpoint = scope["mailement.endpoint"]
            _requests(endpoint, status).inc()
            _seconds(endpoint).observe(seconds)
            if endpoint not in _SILENT:
                log.info(
                    "request.completed",
                    method=scope["method"],
                    endpoint=endpoint,
                    status=status,
                    duration_ms=round(seconds * 1000, 2),
                    **line,
                )


@cache
def _requests(endpoint: str, status: int) -> Counter:
    """The counter's child; looking it up by its labels costs as much as all the rest of the counting."""
    return _REQUESTS.labels(endpoint, status)


@cache
def _seconds(endpoint: str) -> Histogram:
    return _SECONDS.labels(endpoint)


def note(scope: Scope, **fields: object) -> None:
    """Adds fields to the request's line."""
    scope["mailement.line"].update(fields)


def name_endpoint(scope: Scope, endpoint: str) -> None:
    """What metrics and the line call this endpoint: a pattern, never a path with ids or tokens in it."""
    scope["mailement.endpoint"] = endpoint


def traceparent_of(scope: Scope) -> str:
    parent: str = scope["mailement.traceparent"]
    return parent


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
