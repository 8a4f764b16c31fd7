"""The document's five endpoints and everything that is none of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from mailement_api.context import name_endpoint, note, traceparent_of
from mailement_api.dialects.mailement import requests, responses
from mailement_api.dialects.mailement.auth import authenticate
from mailement_api.dialects.mailement.errors import WireError
from mailement_api.dialects.mailement.faults import wire_errors, within
from mailement_api.dialects.mailement.responses import Family
from mailement_api.json_body import read_object
from mailement_api.keys import KeyCache
from mailement_common.ids import BrandId
from mailement_common.logs import logger
from mailement_newsletter.usecases.change_tags import change_tags
from mailement_newsletter.usecases.enroll import enroll
from mailement_newsletter.usecases.leave import unsubscribe
from mailement_newsletter.usecases.subscribe import subscribe

# Longer than any deed takes.
_DEED_SECONDS: Final = 10

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """`wake`: called when an event has been committed, so that the relay need not wait for its sweep."""

    pool: asyncpg.Pool
    keys: KeyCache
    wake: Callable[[], None]
    max_body_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An authenticated request with its JSON object."""

    request: Request
    brand: BrandId
    document: dict[str, Any]

    @property
    def trace(self) -> str:
        return traceparent_of(self.request.scope)


Deed = Callable[[Deps, Call], Awaitable[Mapping[str, object]]]


def endpoints(deps: Deps) -> dict[str, Post]:
    """The endpoints by their paths below `/api/v1`."""

    def post(path: str, deed: Deed, family: Family, *, cors: bool, custom_header: bool) -> tuple[str, Post]:
        return path, Post(path, deps, deed, family, cors=cors, custom_header=custom_header)

    return dict(
        (
            post("/subscribe", _subscribe, Family.OK, cors=True, custom_header=False),
            post("/subscribers", _subscribers, Family.SUCCESS, cors=True, custom_header=True),
            post("/subscribers/unsubscribe", _unsubscribe, Family.SUCCESS, cors=False, custom_header=True),
            post("/subscribers/tags", _tags, Family.SUCCESS, cors=False, custom_header=True),
            post("/drips/{id}/enroll", _enroll, Family.OK, cors=True, custom_header=False),
        )
    )


def router(served: Mapping[str, ASGIApp]) -> Router:
    """To be mounted at `/api/v1`."""
    return Router(
        [Route(path, endpoint) for path, endpoint in served.items()],
        redirect_slashes=False,
        default=unknown_path,
    )


async def unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Any path that nobody serves, with CORS, so that a browser can show the error."""
    response = (
        responses.preflight()
        if scope["method"] == "OPTIONS"
        else responses.failure(WireError("not_found"), Family.OK, cors=True)
    )
    note(scope, error="not_found")
    await response(scope, receive, send)


async def wrong_method(request: Request, error: Exception) -> Response:
    """A path that somebody serves, but not in this way."""
    note(request.scope, error="method_not_allowed")
    allow = error.headers.get("Allow") if isinstance(error, HTTPException) and error.headers else None
    return responses.failure(WireError("method_not_allowed"), Family.OK, cors=False, allow=allow)


class Post:
    """One POST endpoint: key, body, deed, answer; every fault in the dialect's words."""

    def __init__(
        self, path: str, deps: Deps, deed: Deed, family: Family, *, cors: bool, custom_header: bool
    ) -> None:
        self._name = f"/api/v1{path}"
        self._deps = deps
        self._deed = deed
        self._family = family
        self._cors = cors
        self._custom_header = custom_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name_endpoint(scope, self._name)
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method == "OPTIONS" and self._cors:
            return responses.preflight()
        try:
            with wire_errors(request, self._name):
                if request.method != "POST":
                    raise WireError("method_not_allowed")
                body = await self._carry_out(request)
        except WireError as error:
            return self._failure(request, error)
        return responses.answer(body, cors=self._cors)

    async def _carry_out(self, request: Request) -> Mapping[str, object]:
        brand = await authenticate(request, self._deps.keys, custom_header=self._custom_header)
        document = await read_object(request, max_bytes=self._deps.max_body_bytes)
        call = Call(request=request, brand=brand, document=document)
        return await within(_DEED_SECONDS, lambda: self._deed(self._deps, call))

    def _failure(self, request: Request, error: WireError) -> Response:
        note(request.scope, error=error.code)
        allow = "POST, OPTIONS" if self._cors else "POST"
        return responses.failure(error, self._family, cors=self._cors, allow=allow)


async def _subscribe(deps: Deps, call: Call) -> Mapping[str, object]:
    outcome = await subscribe(deps.pool, requests.parse_subscribe(call.brand, call.document, call.trace))
    _told(deps, call, outcome.subscriber_id, changed=outcome.changed)
    note(call.request.scope, subscriber_status=outcome.status, created=outcome.created)
    return responses.subscribed(outcome)


async def _subscribers(deps: Deps, call: Call) -> Mapping[str, object]:
    outcome = await subscribe(deps.pool, requests.parse_subscribers(call.brand, call.document, call.trace))
    _told(deps, call, outcome.subscriber_id, changed=outcome.changed)
    note(call.request.scope, subscriber_status=outcome.status, created=outcome.created)
    _report_unknown(call, outcome.unknown_tags)
    return responses.tag_subscribed(outcome)


async def _unsubscribe(deps: Deps, call: Call) -> Mapping[str, object]:
    who = requests.parse_who(call.document)
    outcome = await unsubscribe(deps.pool, call.brand, who, traceparent=call.trace)
    _told(deps, call, outcome.subscriber_id, changed=outcome.changed)
    return responses.left(outcome)


async def _tags(deps: Deps, call: Call) -> Mapping[str, object]:
    outcome = await change_tags(deps.pool, requests.parse_tags(call.brand, call.document, call.trace))
    _told(deps, call, outcome.subscriber_id, changed=outcome.changed)
    _report_unknown(call, outcome.unknown_tags)
    return responses.tags_changed(outcome)


async def _enroll(deps: Deps, call: Call) -> Mapping[str, object]:
    drip = call.request.path_params["id"]
    outcome = await enroll(deps.pool, requests.parse_enroll(call.brand, drip, call.document, call.trace))
    _told(deps, call, outcome.subscriber_id, changed=not outcome.already_enrolled)
    note(call.request.scope, drip_id=outcome.drip_id)
    return responses.enrolled(outcome)


def _told(deps: Deps, call: Call, subscriber: int, *, changed: bool) -> None:
    note(call.request.scope, subscriber_id=subscriber, changed=changed)
    if changed:
        deps.wake()


def _report_unknown(call: Call, tags: tuple[str, ...]) -> None:
    for tag in tags:
        log.warning("topic.unknown", brand_id=call.brand, slug=tag[:100])
