"""The endpoints that this dispatcher has had to do with since it took their shards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from mailement_common.logs import logger
from mailement_common.sealing import KeyRing
from mailement_webhook_dispatcher.workload import Group, Workload, group_key
from mailement_webhooks.database import Connection
from mailement_webhooks.endpoints import EndpointState
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.rules.health import Health
from mailement_webhooks.usecases.load_endpoints import EndpointAtWork, load_endpoints

log = logger(__name__)


@dataclass(slots=True, eq=False)
class _Asking:
    """A load that waits for its answer. `written`: the health of its endpoints when it asked; `changed`: since then."""

    written: Mapping[EndpointId, Health]
    changed: set[EndpointId] = field(default_factory=set)


class Workloads:
    """`endpoint_cap` and `brand_cap`: posts under way per endpoint, if it says nothing itself, and per brand."""

    def __init__(self, keys: KeyRing, *, endpoint_cap: int, brand_cap: int) -> None:
        self._keys = keys
        self._endpoint_cap = endpoint_cap
        self._brand_cap = brand_cap
        self._known: dict[EndpointId, Workload] = {}
        self._groups: dict[Hashable, Group] = {}
        # Also those that are about to be given up: as long as they are held, nobody else speaks for their endpoints.
        self._shards: set[Shard] = set()
        # Others own them. Forgotten whenever a shard is taken.
        self._foreign: set[EndpointId] = set()
        self._stale: set[EndpointId] = set()
        self._asking: set[_Asking] = set()
        self._busy: set[Workload] = set()
        # Of what is under way, or over and not committed.
        self._leases: Counter[UUID] = Counter()

    def get(self, endpoint_id: EndpointId) -> Workload | None:
        """None: not loaded, or changed since."""
        return None if endpoint_id in self._stale else self._known.get(endpoint_id)

    def is_ours(self, endpoint_id: EndpointId) -> bool:
        return endpoint_id in self._known

    def is_foreign(self, endpoint_id: EndpointId) -> bool:
        return endpoint_id in self._foreign

    def changed(self, endpoint_id: EndpointId) -> None:
        """What is known of it is not true any more."""
        self._foreign.discard(endpoint_id)
        if endpoint_id in self._known:
            self._stale.add(endpoint_id)
        for asking in self._asking:
            asking.changed.add(endpoint_id)

    async def load(self, connection: Connection, ids: Collection[EndpointId]) -> None:
        """Gets to know endpoints, or to know them anew, as far as they belong to the shards that are held then.

        What changes in the meantime may have come too late for the answer: it stays unknown, and is to be loaded again.
        """
        with self._ask(ids) as asking:
            answer = await _load_readable(connection, ids)
        self._stale.difference_update(ids)
        for endpoint_id in set(ids).difference(loaded.endpoint.id for loaded in answer):
            self._forget(endpoint_id)
        for loaded in answer:
            if loaded.shard not in self._shards:
                self._forget(loaded.endpoint.id)
                self._foreign.add(loaded.endpoint.id)
            elif loaded.endpoint.state is EndpointState.DELETED:
                self._forget(loaded.endpoint.id)
            else:
                self._learn(loaded, asking)

    def take(self, shards: Collection[Shard]) -> None:
        self._shards.update(shards)
        self._foreign.clear()

    def count_leases(self, leases: Mapping[EndpointId, tuple[int, float]]) -> None:
        """A former owner left these in the shards that were taken: how many, and seconds until the last ends."""
        at = asyncio.get_running_loop().time()
        for endpoint_id, (count, seconds) in leases.items():
            if (workload := self._known.get(endpoint_id)) is not None:
                workload.left.add(count, at + seconds)
                workload.group.left.add(count, at + seconds)

    def give_up(self, shards: Collection[Shard]) -> list[EndpointId]:
        """Somebody else's from now on; tells which."""
        self._shards.difference_update(shards)
        gone = [workload.id for workload in self._known.values() if workload.shard in shards]
        for endpoint_id in gone:
            self._forget(endpoint_id)
        # If a brand comes back, the database tells what is under way.
        self._groups = {workload.group.key: workload.group for workload in self._known.values()}
        return gone

    @property
    def leases(self) -> Collection[UUID]:
        """The tokens of what this dispatcher has under way itself."""
        return self._leases.keys()

    def begin(self, workload: Workload, lease_token: UUID, *, replay: bool) -> None:
        workload.begin(replay=replay)
        self._busy.add(workload)
        self._leases[lease_token] += 1

    def settle(self, workload: Workload, lease_token: UUID) -> None:
        """One more result is committed."""
        self._leases[lease_token] -= 1
        if not self._leases[lease_token]:
            del self._leases[lease_token]
        workload.unrecorded -= 1
        if not workload.unrecorded:
            self._busy.discard(workload)

    def busy_shards(self) -> set[Shard]:
        """Those with something under way, or posted and not committed yet."""
        return {workload.shard for workload in self._busy}

    def troubled_in_flight(self, at: float) -> int:
        return sum(workload.in_flight for workload in self._busy if workload.is_troubled(at))

    def replays_in_flight(self) -> int:
        return sum(workload.replays_in_flight for workload in self._busy)

    def open_breakers(self) -> int:
        return sum(
            bool(workload.health.breaker_trips) and workload.endpoint.state is EndpointState.ENABLED
            for workload in self._known.values()
        )

    @contextmanager
    def _ask(self, ids: Collection[EndpointId]) -> Iterator[_Asking]:
        """Notes what changes inside the block."""
        asking = _Asking(
            written={
                endpoint_id: self._known[endpoint_id].written
                for endpoint_id in ids
                if endpoint_id in self._known
            }
        )
        self._asking.add(asking)
        try:
            yield asking
        finally:
            self._asking.remove(asking)

    def _learn(self, loaded: EndpointAtWork, asking: _Asking) -> None:
        endpoint_id, at = loaded.endpoint.id, asyncio.get_running_loop().time()
        known = self._known.get(endpoint_id)
        if known is None:
            self._known[endpoint_id] = Workload(
                loaded, self._group(group_key(loaded)), self._keys, endpoint_cap=self._endpoint_cap, at=at
            )
        elif known.written is asking.written.get(endpoint_id):
            known.renew(loaded, self._keys, at=at)
        else:
            # How it fares was written meanwhile: the answer may be from before that.
            asking.changed.add(endpoint_id)
        if endpoint_id in asking.changed:
            self._stale.add(endpoint_id)

    def _group(self, key: Hashable) -> Group:
        if key not in self._groups:
            self._groups[key] = Group(key, cap=self._brand_cap)
        return self._groups[key]

    def _forget(self, endpoint_id: EndpointId) -> None:
        self._stale.discard(endpoint_id)
        workload = self._known.pop(endpoint_id, None)
        if workload is not None:
            workload.ours = False


async def _load_readable(connection: Connection, ids: Collection[EndpointId]) -> Sequence[EndpointAtWork]:
    """Leaves out those that say something unheard of, as a newer release may write it: the others must not wait for them."""
    try:
        return await load_endpoints(connection, ids)
    except ValueError as error:
        if len(ids) == 1:
            log.error("webhook.endpoint_unreadable", endpoint_id=next(iter(ids)), exc_info=error)
            return []
    return [loaded for endpoint_id in ids for loaded in await _load_readable(connection, [endpoint_id])]
