"""The api's composition: dialects, public pages, docs and health in one ASGI application."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import asyncpg
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from mailement_api import docs
from mailement_api.context import RequestContext
from mailement_api.dialects.mailement import routes as mailement
from mailement_api.dialects.mailement.drips import routes as drips
from mailement_api.dialects.mailement.drips.deeds import Deps as DripDeps
from mailement_api.dialects.mailement.messages import routes as messages
from mailement_api.dialects.mailement.messages.deeds import Deps as MessageDeps
from mailement_api.dialects.mailement.webhooks import routes as webhooks
from mailement_api.dialects.mailement.webhooks.resource import Deps as WebhookDeps
from mailement_api.keys import KeyCache
from mailement_api.public import unsubscribe
from mailement_api.settings import ApiSettings
from mailement_common.clock import SystemClock
from mailement_common.health import Health, health_routes
from mailement_common.sealing import KeyRing
from mailement_webhooks.rules.guard import Guard


class StaticPaths:
    """Finds a path without parameters at once: walking through the routes costs more than an endpoint's thinking."""

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoints.get(scope.get("path", ""), self._app)(scope, receive, send)


def create_app(
    *, pool: asyncpg.Pool, settings: ApiSettings, health: Health, wake: Callable[[], None], keys: KeyCache
) -> Starlette:
    """`wake` is called after each commit that wrote an event; `keys` remembers who may come in."""
    ring = KeyRing(settings.secret_keys.get_secret_value())
    native = mailement.Deps(pool=pool, keys=keys, wake=wake, max_body_bytes=settings.max_body_bytes)
    served: Mapping[str, ASGIApp] = {
        **mailement.endpoints(native),
        **webhooks.resources(
            WebhookDeps(
                pool=pool,
                keys=keys,
                ring=ring,
                guard=Guard(allow=settings.webhook_allow_cidrs),
                waits=settings,
                max_body_bytes=settings.max_body_bytes,
            )
        ),
        **messages.resources(MessageDeps(pool=pool, keys=keys, max_body_bytes=settings.max_body_bytes)),
        **drips.resources(
            DripDeps(
                pool=pool, keys=keys, clock=SystemClock(), wake=wake, max_body_bytes=settings.max_body_bytes
            )
        ),
    }
    app = Starlette(
        routes=[
            Mount("/api/v1", mailement.router(served)),
            *unsubscribe.routes(pool, ring, wake),
            *docs.routes(settings.public_url),
            *health_routes(health),
        ],
        middleware=[
            Middleware(RequestContext),
            Middleware(
                StaticPaths, endpoints={f"/api/v1{path}": endpoint for path, endpoint in served.items()}
            ),
        ],
        exception_handlers={405: mailement.wrong_method},
    )
    app.router.redirect_slashes = False
    app.router.default = mailement.unknown_path
    return app
