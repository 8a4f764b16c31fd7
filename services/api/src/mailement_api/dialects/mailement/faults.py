"""Whatever goes wrong with a request, in this dialect's words; and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg
from starlette.requests import Request

from mailement_api.context import note
from mailement_api.dialects.mailement.errors import WireError, translate
from mailement_api.json_body import BodyFault
from mailement_common.db.pool import DATABASE_UNABLE
from mailement_common.logs import logger
from mailement_newsletter.errors import Refusal as NewsletterRefusal
from mailement_webhooks.errors import Refusal as WebhookRefusal

Outcome = TypeVar("Outcome")

log = logger(__name__)


@contextmanager
def wire_errors(request: Request, endpoint: str) -> Iterator[None]:
    """What goes wrong within the block leaves it as a WireError. `endpoint`: its name in the log."""
    try:
        yield
    except WireError:
        raise
    except (NewsletterRefusal, WebhookRefusal, BodyFault) as error:
        raise translate(error) from error
    except DATABASE_UNABLE as error:
        note(request.scope, reason=type(error).__name__)
        raise WireError("service_unavailable") from error
    except Exception as error:
        # The traceback goes to the log here, the answer in the family's shape to the caller.
        log.exception("request.failed", endpoint=endpoint)
        raise WireError("internal_error") from error


async def within(seconds: float, deed: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Raises TimeoutError: whoever waits for a connection that long is told to come back."""
    async with asyncio.timeout(seconds):
        try:
            return await deed()
        except asyncpg.DeadlockDetectedError:
            # One of two calls had to give way; by now the other is through.
            return await deed()
