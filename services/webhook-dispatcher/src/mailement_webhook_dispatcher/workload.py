"""An endpoint at work, as its owner has it in memory: what it is, how it fares, and what it has under way."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from mailement_common.ids import BrandId
from mailement_common.sealing import CannotOpen, KeyRing
from mailement_webhook_dispatcher.bucket import TokenBucket
from mailement_webhook_dispatcher.concurrency import AdaptiveLimit
from mailement_webhook_dispatcher.request import SigningSecrets
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.secrets import secret_owner
from mailement_webhooks.usecases.load_endpoints import EndpointAtWork

# For so long after a failure an endpoint is no candidate for the slots that are kept for the healthy.
_TROUBLED_SECONDS: Final = 60.0


class Leases:
    """What a dispatcher that died had under way: it counts until the leases end."""

    __slots__ = ("count", "until")

    def __init__(self) -> None:
        self.count = 0
        self.until = -math.inf

    def add(self, count: int, until: float) -> None:
        self.count += count
        self.until = max(self.until, until)

    def at(self, moment: float) -> int:
        if moment >= self.until:
            self.count = 0
        return self.count


class Group:
    """The endpoints of one brand, which share a cap; an endpoint that hears every brand is a group of its own."""

    __slots__ = ("cap", "in_flight", "key", "left")

    def __init__(self, key: Hashable, *, cap: int) -> None:
        self.key: Final = key
        self.cap: Final = cap
        self.in_flight = 0
        self.left = Leases()

    def room(self, at: float) -> int:
        return self.cap - self.in_flight - self.left.at(at)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsUnreadable:
    """`detail` says it in words for people."""

    detail: str


class Workload:
    """Moments are seconds of the loop's clock. `written`: the health that stands in the database."""

    __slots__ = (
        "_endpoint_cap",
        "_failed_at",
        "bucket",
        "endpoint",
        "group",
        "health",
        "id",
        "in_flight",
        "left",
        "limit",
        "ours",
        "replays_in_flight",
        "replays_wait",
        "secrets",
        "shard",
        "unrecorded",
        "written",
    )

    def __init__(
        self, loaded: EndpointAtWork, group: Group, keys: KeyRing, *, endpoint_cap: int, at: float
    ) -> None:
        self.id: Final[EndpointId] = loaded.endpoint.id
        self.shard: Final[Shard] = loaded.shard
        self.group: Final = group
        self.left = Leases()
        self.in_flight = 0
        self.replays_in_flight = 0
        # As the last claim found it.
        self.replays_wait = False
        # Posted, but what came of it is not committed yet.
        self.unrecorded = 0
        # False: its shard was given up; what is under way is recorded all the same.
        self.ours = True
        self._endpoint_cap = endpoint_cap
        self._failed_at = -math.inf
        self.endpoint = loaded.endpoint
        self.secrets = _opened(loaded, keys)
        self.health = loaded.health
        self.written = loaded.health
        self.bucket = _bucket(loaded, at)
        self.limit = AdaptiveLimit(cap=self.cap)

    @property
    def cap(self) -> int:
        return self.endpoint.max_in_flight or self._endpoint_cap

    def renew(self, loaded: EndpointAtWork, keys: KeyRing, *, at: float) -> None:
        """The endpoint was changed; what is under way and what was learned stays."""
        before, self.endpoint = self.endpoint, loaded.endpoint
        self.secrets = _opened(loaded, keys)
        if loaded.health.fresh_starts != self.health.fresh_starts:
            self.health = self.written = loaded.health
            self._failed_at = -math.inf
            self.limit.restart()
        if before.rate_per_second != self.endpoint.rate_per_second:
            self.bucket = _bucket(loaded, at)
        self.limit.recap(self.cap)

    def room(self, at: float) -> int:
        """After a failure nothing is over before it is committed, so that the breaker is never late by more than this."""
        under_way = self.unrecorded if self.is_troubled(at) else self.in_flight
        return min(self.limit.limit, self.cap - self.left.at(at)) - under_way

    def replay_room(self) -> int:
        """A quarter of what it may have, and at least one."""
        return max(self.limit.limit // 4, 1) - self.replays_in_flight

    def is_troubled(self, at: float) -> bool:
        return self.health.consecutive_failures > 0 or at < self._failed_at + _TROUBLED_SECONDS

    def begin(self, *, replay: bool) -> None:
        self.in_flight += 1
        self.group.in_flight += 1
        self.unrecorded += 1
        self.replays_in_flight += replay

    def end(self, *, replay: bool) -> None:
        """The post is over; `unrecorded` it stays until its result is committed."""
        self.in_flight -= 1
        self.group.in_flight -= 1
        self.replays_in_flight -= replay

    def note_failure(self, at: float) -> None:
        self._failed_at = at


def group_key(loaded: EndpointAtWork) -> tuple[str, BrandId | EndpointId]:
    brand_id = loaded.endpoint.brand_id
    return ("endpoint", loaded.endpoint.id) if brand_id is None else ("brand", brand_id)


def _opened(loaded: EndpointAtWork, keys: KeyRing) -> SigningSecrets | SecretsUnreadable:
    owner = secret_owner(loaded.endpoint.id)

    def opened(sealed: str | None) -> str | None:
        return None if sealed is None else keys.open(sealed, owner=owner)

    try:
        return SigningSecrets(
            active=keys.open(loaded.secret_sealed, owner=owner),
            staged=opened(loaded.secret_staged_sealed),
            previous=opened(loaded.secret_previous_sealed),
        )
    except (CannotOpen, ValueError) as error:
        return SecretsUnreadable(detail=str(error))


def _bucket(loaded: EndpointAtWork, at: float) -> TokenBucket | None:
    """Holds what a second gives, so that the limit holds over any second or two."""
    rate = loaded.endpoint.rate_per_second
    return None if rate is None else TokenBucket(rate=rate, burst=max(1, math.ceil(rate)), at=at)
