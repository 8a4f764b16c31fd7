"""The link at the foot of every mail: a page with a button, and the one-click POST of RFC 8058.

Opening the link changes nothing, because mail scanners open every link. The POST needs no cookie and no login,
answers 200 without a redirect, and says the same however often it is repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Final

import asyncpg
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mailement_api.context import name_endpoint, note, traceparent_of
from mailement_api.page import page
from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.ids import BrandId
from mailement_common.sealing import KeyRing
from mailement_newsletter.commands import ById
from mailement_newsletter.errors import SubscriberNotFound
from mailement_newsletter.links import NotOurLink, read_unsubscribe_token
from mailement_newsletter.usecases.brand_of import brand_of
from mailement_newsletter.usecases.leave import unsubscribe

_ENDPOINT: Final = "/unsubscribe/{token}"


def routes(pool: asyncpg.Pool, keys: KeyRing, wake: Callable[[], None]) -> list[Route]:
    async def ask(request: Request) -> Response:
        name_endpoint(request.scope, _ENDPOINT)
        try:
            subscriber = read_unsubscribe_token(keys, request.path_params["token"])
            _, name = await brand_of(pool, subscriber)
        except (NotOurLink, SubscriberNotFound):
            return _unknown_link()
        except DATABASE_UNABLE:
            return _try_again()
        return _answer(
            "Unsubscribe",
            f'<h1>Leave {escape(name)}?</h1><form method="post"><button>Unsubscribe</button></form>',
        )

    async def leave(request: Request) -> Response:
        name_endpoint(request.scope, _ENDPOINT)
        try:
            subscriber = read_unsubscribe_token(keys, request.path_params["token"])
            brand, name = await brand_of(pool, subscriber)
            outcome = await unsubscribe(
                pool,
                BrandId(brand),
                ById(subscriber_id=subscriber),
                traceparent=traceparent_of(request.scope),
            )
        except (NotOurLink, SubscriberNotFound):
            return _unknown_link()
        except DATABASE_UNABLE:
            return _try_again()
        note(request.scope, brand_id=brand, subscriber_id=subscriber, changed=outcome.changed)
        if outcome.changed:
            wake()
        return _answer(
            "Unsubscribed", f"<h1>You have left {escape(name)}.</h1><p>No more mail will be sent to you.</p>"
        )

    return [Route(_ENDPOINT, ask, methods=["GET"]), Route(_ENDPOINT, leave, methods=["POST"])]


def _unknown_link() -> Response:
    return _answer(
        "Unknown link", "<h1>This link is not complete.</h1><p>Open it again from the mail.</p>", 404
    )


def _try_again() -> Response:
    return _answer("Try again", "<h1>Not now.</h1><p>Please try again in a moment.</p>", 503)


def _answer(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(
        page(title, body),
        status_code=status,
        headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"},
    )
