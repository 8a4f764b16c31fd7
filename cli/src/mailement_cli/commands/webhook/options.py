"""What the commands on webhooks are told in the same words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Final

import click
from typing_extensions import override

from mailement_common.clock import SystemClock
from mailement_common.db.pool import Connection
from mailement_newsletter.catalog.brands import find_brand
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.list_endpoints import only_endpoint

_AGE: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Moment(click.ParamType[datetime]):
    """A moment in ISO 8601, UTC unless it says otherwise, or how long ago: `90m`, `2h`, `3d`."""

    name = "moment"

    @override
    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            if (age := _AGE.fullmatch(text)) is not None:
                return SystemClock().now() - timedelta(seconds=int(age[1]) * _SECONDS[age[2]])
            moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is neither a moment (2026-05-19T17:42) nor an age (90m, 2h, 3d)", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


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
