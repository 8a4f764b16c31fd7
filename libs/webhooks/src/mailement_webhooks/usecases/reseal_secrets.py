"""Seal all stored secrets with the first key of the ring, so that the others can be taken out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailement_common.db.sql import queries_beside
from mailement_common.sealing import CannotOpen, KeyRing, key_id_of
from mailement_webhooks.database import Executor
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.secrets import secret_owner

SQL: Final = queries_beside(__file__)

_CHUNK: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """`unreadable`: endpoints with a secret whose key is not in the ring; it is left as it is."""

    secrets: int
    endpoints: int
    unreadable: tuple[EndpointId, ...]


async def reseal_secrets(executor: Executor, keys: KeyRing) -> Resealed:
    """Endpoint by endpoint, beside everything else; begun again after an interruption it does the rest."""
    secrets, endpoints, unreadable = 0, 0, list[EndpointId]()
    after = EndpointId(0)
    while rows := await executor.fetch(SQL["sealed_otherwise"], keys.sealing_key_id, after, _CHUNK):
        for row in rows:
            after = EndpointId(row["id"])
            anew, readable = _sealed_anew(keys, after, row["sealed"])
            if not readable:
                unreadable.append(after)
            if anew:
                await executor.execute(SQL["reseal"], after, list(anew), list(anew.values()))
                secrets, endpoints = secrets + len(anew), endpoints + 1
    return Resealed(secrets=secrets, endpoints=endpoints, unreadable=tuple(unreadable))


def _sealed_anew(keys: KeyRing, endpoint_id: EndpointId, sealed: list[str]) -> tuple[dict[str, str], bool]:
    """Old text to new, and whether all could be opened."""
    owner, readable, anew = secret_owner(endpoint_id), True, dict[str, str]()
    for old in sealed:
        if key_id_of(old) == keys.sealing_key_id:
            continue
        try:
            anew[old] = keys.seal(keys.open(old, owner=owner), owner=owner)
        except CannotOpen:
            readable = False
    return anew, readable
