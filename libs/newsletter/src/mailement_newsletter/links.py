"""Links in mails that only we can have made: they carry the subscriber's id and a MAC, and never expire."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final

from mailement_common.ids import SubscriberId
from mailement_common.sealing import KeyRing

_UNSUBSCRIBE: Final = "unsubscribe"
_ID: Final = struct.Struct(">Q")


class NotOurLink(Exception):
    """The token was not made by this installation, or was damaged on its way."""


def unsubscribe_url(public_url: str, keys: KeyRing, subscriber: SubscriberId) -> str:
    """Where this subscriber leaves; also the target of the one-click POST of RFC 8058."""
    return f"{public_url}/unsubscribe/{unsubscribe_token(keys, subscriber)}"


def unsubscribe_token(keys: KeyRing, subscriber: SubscriberId) -> str:
    raw = _ID.pack(subscriber)
    return base64.urlsafe_b64encode(raw + keys.sign(raw, purpose=_UNSUBSCRIBE)).decode()


def read_unsubscribe_token(keys: KeyRing, token: str) -> SubscriberId:
    """Raises NotOurLink."""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise NotOurLink from error
    data, signature = raw[: _ID.size], raw[_ID.size :]
    if len(data) != _ID.size or not keys.signed(data, signature, purpose=_UNSUBSCRIBE):
        raise NotOurLink
    (subscriber,) = _ID.unpack(data)
    return SubscriberId(subscriber)
