"""Section 2: the brand's bearer token; tag-flavoured endpoints also take `X-Newsletter-Api-Key`."""

from __future__ import annotations

from starlette.requests import Request

from mailement_api.context import note
from mailement_api.dialects.mailement.errors import WireError
from mailement_api.keys import KeyCache
from mailement_common.ids import BrandId
from mailement_newsletter.rules.scopes import KeyScope


async def authenticate(
    request: Request,
    keys: KeyCache,
    *,
    custom_header: bool,
    scopes: frozenset[KeyScope] = frozenset(),
) -> BrandId:
    """The brand that the request acts for. `scopes`: the key must have one of them, if there are any.

    Raises WireError: missing_api_key, invalid_api_key, brand_not_found, insufficient_scope.
    """
    key = _bearer(request.headers.get("authorization"))
    if key is None and custom_header:
        key = (request.headers.get("x-newsletter-api-key") or "").strip() or None
    if key is None:
        raise WireError("missing_api_key")
    known = await keys.find(key)
    if known is None or known.brand_id is None:
        raise WireError("invalid_api_key")
    note(request.scope, key_id=known.id, brand_id=known.brand_id)
    if known.brand_deleted:
        raise WireError("brand_not_found")
    if scopes and not scopes & known.scopes:
        raise WireError("insufficient_scope", reason=" or ".join(sorted(scopes)))
    return known.brand_id


def _bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").strip().partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None
