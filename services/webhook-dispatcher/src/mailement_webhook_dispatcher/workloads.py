"""The endpoints that this dispatcher has had to do with since it took their shards."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Mapping

from mailement_common.sealing import KeyRing
from mailement_webhook_dispatcher.workload import Group, Workload, group_key
from mailement_webhooks.database import Connection
from mailement_webhooks.endpoints import EndpointState
from mailement_webhooks.ids import EndpointId, Shard
from mailement_webhooks.usecases.load_endpoints import EndpointAtWork, load_endpoints


class Workloads:
    """`endpoint_cap` and `brand_cap`: posts under way per endpoint, if it says nothing itself, and per brand."""

    def __init__(self, keys: KeyRing, *, endpoint_cap: int, brand_cap: int) -> None:
        self._keys = keys
        self._endpoint_cap = endpoint_cap
        self._brand_cap = brand_cap
        self._known: dict[EndpointId, Workload] = {}
        self._groups: dict[Hashable, Group] = {}
        # Others own them. Forgotten whenever a shard is taken.
        self._foreign: set[EndpointId] = set()
        self._stale: set[EndpointId] = set()
        self._busy: set[Workload] = set()

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

    async def load(
        self, connection: Connection, ids: Collection[EndpointId], shards: Collection[Shard]
    ) -> None:
        """Gets to know endpoints, or to know them anew, as far as they belong to the shards."""
        # A change that is told from now on may have come too late for the statement.
        self._stale.difference_update(ids)
        for loaded in await load_endpoints(connection, ids):
            if loaded.shard in shards:
                self._learn(loaded)
            else:
                self._forget(loaded.endpoint.id)
                self._foreign.add(loaded.endpoint.id)

    def take(self, leases: Mapping[EndpointId, tuple[int, float]]) -> None:
        """Shards were taken, in which a former owner left these leases: how many, and seconds until the last ends."""
        self._foreign.clear()
        at = asyncio.get_running_loop().time()
        for endpoint_id, (count, seconds) in leases.items():
            if (workload := self._known.get(endpoint_id)) is not None:
                workload.left.add(count, at + seconds)
                workload.group.left.add(count, at + seconds)

    def give_up(self, shards: Collection[Shard]) -> list[EndpointId]:
        """Somebody else's from now on; tells which."""
        gone = [workload.id for workload in self._known.values() if workload.shard in shards]
        for endpoint_id in gone:
            self._forget(endpoint_id)
        return gone

    def begin(self, workload: Workload, *, replay: bool) -> None:
        workload.begin(replay=replay)
        self._busy.add(workload)

    def settle(self, workload: Workload) -> None:
        """One more result is committed."""
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

    def _learn(self, loaded: EndpointAtWork) -> None:
        at = asyncio.get_running_loop().time()
        known = self._known.get(loaded.endpoint.id)
        if known is not None and known.group.key == group_key(loaded):
            known.renew(loaded, self._keys, at=at)
            return
        self._known[loaded.endpoint.id] = Workload(
            loaded, self._group(group_key(loaded)), self._keys, endpoint_cap=self._endpoint_cap, at=at
        )

    def _group(self, key: Hashable) -> Group:
        if key not in self._groups:
            self._groups[key] = Group(key, cap=self._brand_cap)
        return self._groups[key]

    def _forget(self, endpoint_id: EndpointId) -> None:
        self._stale.discard(endpoint_id)
        workload = self._known.pop(endpoint_id, None)
        if workload is not None:
            workload.ours = False
            # If the brand comes back, the database tells what is under way.
            self._groups.pop(workload.group.key, None)
