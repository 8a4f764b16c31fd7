"""What the commands on webhooks are told in the same words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from mailement_common.db.pool import Connection
from mailement_newsletter.catalog.brands import find_brand
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.list_endpoints import only_endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """An endpoint, by its id, or as the only one of a brand."""

    endpoint_id: EndpointId | None
    brand: str | None

    async def find(self, connection: Connection) -> EndpointId:
        """Raises NotFound, NoEndpoint, SeveralEndpoints."""
        if self.endpoint_id is not None:
            return self.endpoint_id
        assert self.brand is not None
        return (await only_endpoint(connection, (await find_brand(connection, self.brand)).id)).id


def endpoint_argument(function: Callable[..., None]) -> Callable[..., None]:
    """`ID` or `--brand`, handed on as `which`."""

    @click.argument("endpoint_id", metavar="[ID]", type=int, required=False)
    @click.option("--brand", metavar="SLUG", help="Instead of an id, where the brand has one webhook.")
    @wraps(function)
    def named(*, endpoint_id: int | None, brand: str | None, **others: Any) -> None:  # noqa: ANN401  click's
        function(which=_which(endpoint_id, brand), **others)

    return named


def _which(endpoint_id: int | None, brand: str | None) -> Which:
    if (endpoint_id is None) == (brand is None):
        raise click.UsageError("say which: an ID or --brand, one of the two")
    return Which(endpoint_id=None if endpoint_id is None else EndpointId(endpoint_id), brand=brand)
