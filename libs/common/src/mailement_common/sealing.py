"""Secrets at rest and links that cannot be forged, both from one key ring.

Secrets: AES-256-GCM, bound to the row that they belong to, with the key's id in front.
Links: a MAC under a key derived per purpose, so that one kind of link never passes for another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = "v1"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAC_BYTES: Final = 16


class BadKeyRing(Exception):
    """The key ring is not `id:base64 of 32 bytes`, comma separated."""


class CannotOpen(Exception):
    """A sealed secret was made with another key, for another row, or is damaged."""


class KeyRing:
    """Seals with the first key, opens with any: a new key is put in front and the old one kept until resealed."""

    def __init__(self, keys: str) -> None:
        """`keys`: `id:base64,id:base64`. Raises BadKeyRing."""
        self._keys: dict[str, bytes] = {}
        for part in keys.split(","):
            if part.strip():
                key_id, key = _key(part)
                if key_id in self._keys:
                    raise BadKeyRing(f"key {key_id!r} is there twice")
                self._keys[key_id] = key
        if not self._keys:
            raise BadKeyRing("there is no key")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in self._keys.items()}
        self._sealing_id = next(iter(self._keys))

    @property
    def sealing_key_id(self) -> str:
        """The id of the key that seals."""
        return self._sealing_id

    def seal(self, secret: str, *, owner: str) -> str:
        """`owner` names the row (`webhook:12`): the result opens for no other."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._sealing_id].encrypt(nonce, secret.encode(), owner.encode())
        return "|".join((_VERSION, self._sealing_id, _text(nonce), _text(sealed)))

    def open(self, sealed: str, *, owner: str) -> str:
        """Raises CannotOpen."""
        try:
            version, key_id, nonce, secret = sealed.split("|")
            if version != _VERSION:
                raise ValueError(version)
            return self._ciphers[key_id].decrypt(_bytes(nonce), _bytes(secret), owner.encode()).decode()
        except (ValueError, KeyError, InvalidTag) as error:
            raise CannotOpen(
                f"the secret of {owner} cannot be opened: is its key in MAILEMENT_SECRET_KEYS?"
            ) from error

    def sign(self, data: bytes, *, purpose: str) -> bytes:
        """16 bytes that prove that this key ring signed `data` for `purpose`."""
        return _mac(self._keys[self._sealing_id], purpose, data)

    def signed(self, data: bytes, signature: bytes, *, purpose: str) -> bool:
        """Whether any key of the ring made this signature."""
        return any(hmac.compare_digest(_mac(key, purpose, data), signature) for key in self._keys.values())

    def derived(self, *, purpose: str) -> Mapping[str, bytes]:
        """For each key's id, the signing key's first, its key for `purpose`: for those who sign very often."""
        return {key_id: _derived(key, purpose) for key_id, key in self._keys.items()}


def key_id_of(sealed: str) -> str:
    """The id of the key that a secret was sealed with; empty if it is damaged."""
    return "".join(sealed.split("|")[1:2])


def new_key(key_id: str) -> str:
    """A fresh entry for the key ring."""
    return f"{key_id}:{_text(os.urandom(_KEY_BYTES))}"


def _key(part: str) -> tuple[str, bytes]:
    key_id, _, encoded = part.strip().partition(":")
    try:
        key = _bytes(encoded)
    except ValueError as error:
        raise BadKeyRing("a key is not base64") from error
    if not key_id or "|" in key_id or len(key) != _KEY_BYTES:
        raise BadKeyRing("each key is `id:base64 of 32 bytes`")
    return key_id, key


def _mac(key: bytes, purpose: str, data: bytes) -> bytes:
    mac = _begun(key, purpose).copy()
    mac.update(data)
    return mac.digest()[:_MAC_BYTES]


@lru_cache(maxsize=64)
def _begun(key: bytes, purpose: str) -> hmac.HMAC:
    """To go on with. `hmac.digest` lets other threads run for each few bytes, and beside a busy one it is milliseconds until
    its turn comes again.
    """
    return hmac.new(_derived(key, purpose), digestmod=hashlib.sha256)


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, b"purpose:" + purpose.encode(), hashlib.sha256)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
