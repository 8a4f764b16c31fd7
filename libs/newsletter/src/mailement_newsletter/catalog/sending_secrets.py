"""Passwords of mail accounts and DKIM keys, sealed anew with the first key of the ring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailement_common.db.pool import Connection
from mailement_common.db.sql import queries_beside
from mailement_common.sealing import CannotOpen, KeyRing, key_id_of

SQL: Final = queries_beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingSecrets:
    """`unreadable`: whose secret stays as it is, because its key is not in the ring. `key_ids`: those in use now."""

    resealed: int
    unreadable: tuple[str, ...]
    key_ids: frozenset[str]


async def reseal_sending_secrets(connection: Connection, keys: KeyRing) -> SendingSecrets:
    """Begun again after an interruption it does the rest."""
    resealed, unreadable = 0, list[str]()
    for row in await connection.fetch(SQL["all_sealed"]):
        owner, sealed = row["owner"], row["sealed"]
        if key_id_of(sealed) == keys.sealing_key_id:
            continue
        try:
            anew = keys.seal(keys.open(sealed, owner=owner), owner=owner)
        except CannotOpen:
            unreadable.append(owner)
            continue
        of_account = owner.startswith("mail_account:")
        await connection.execute(
            SQL["reseal_account"] if of_account else SQL["reseal_dkim"], owner, sealed, anew
        )
        resealed += 1
    now = await connection.fetch(SQL["all_sealed"])
    return SendingSecrets(
        resealed=resealed,
        unreadable=tuple(unreadable),
        key_ids=frozenset(key_id_of(row["sealed"]) for row in now),
    )
