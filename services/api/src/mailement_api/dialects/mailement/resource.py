"""A path of ours below `/api/v1` and the deeds that its methods stand for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mailement_api.context import name_endpoint, note, traceparent_of
from mailement_api.dialects.mailement.auth import authenticate
from mailement_api.dialects.mailement.errors import WireError
from mailement_api.dialects.mailement.faults import wire_errors, within
from mailement_api.dialects.mailement.responses import Family, failure
from mailement_api.json_body import read_object_if_any
from mailement_api.keys import KeyCache
from mailement_common.ids import BrandId
from mailement_newsletter.rules.scopes import KeyScope

# Longer than any deed takes.
_DEED_SECONDS: Final = 20
_WITHOUT_BODY: Final = frozenset({"GET", "DELETE"})


class Needs(Protocol):
    """What every resource needs; its deeds may need more."""

    @property
    def keys(self) -> KeyCache: ...

    @property
    def max_body_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An authenticated request; `document` is its JSON object, empty where it has none."""

    request: Request
    brand: BrandId
    document: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """The `{id}` of the path, as it was sent."""
        return self.part("id")

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    @property
    def trace(self) -> str:
        return traceparent_of(self.request.scope)

    def part(self, name: str) -> str:
        """What stands for `{name}` in the path, as it was sent."""
        text: str = self.request.path_params[name]
        return text

    def note(self, **fields: object) -> None:
        """Adds fields to the request's line in the log: ids and counts, never a URL, an address or a secret."""
        note(self.request.scope, **fields)


NeedsT = TypeVar("NeedsT", bound=Needs)
Deed = Callable[[NeedsT, Call], Awaitable[Mapping[str, object]]]


class Resource(Generic[NeedsT]):
    """Key, body, deed, answer; every fault in the dialect's words."""

    def __init__(
        self,
        path: str,
        deps: NeedsT,
        deeds: Mapping[str, Deed[NeedsT]],
        *,
        scopes: frozenset[KeyScope] = frozenset(),
    ) -> None:
        """`deeds` by method. `scopes`: whoever does not only read needs a key with one of them, if there are any."""
        self._name = f"/api/v1{path}"
        self._deps = deps
        self._deeds = deeds
        self._scopes = scopes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name_endpoint(scope, self._name)
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        try:
            with wire_errors(request, self._name):
                deed = self._deeds.get(request.method)
                if deed is None:
                    raise WireError("method_not_allowed")
                body = await self._carry_out(deed, request)
        except WireError as error:
            return self._failure(request, error)
        # A secret may be in it, and what is in it changes by the second.
        return Response(
            orjson.dumps({"success": True, **body}),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )

    async def _carry_out(self, deed: Deed[NeedsT], request: Request) -> Mapping[str, object]:
        scopes = frozenset[KeyScope]() if request.method == "GET" else self._scopes
        brand = await authenticate(request, self._deps.keys, custom_header=False, scopes=scopes)
        document: Mapping[str, Any] = {}
        if request.method not in _WITHOUT_BODY:
            document = await read_object_if_any(request, max_bytes=self._deps.max_body_bytes)
        call = Call(request=request, brand=brand, document=document)
        return await within(_DEED_SECONDS, lambda: deed(self._deps, call))

    def _failure(self, request: Request, error: WireError) -> Response:
        note(request.scope, error=error.code)
        return failure(error, Family.SUCCESS, cors=False, allow=", ".join(sorted(self._deeds)))
