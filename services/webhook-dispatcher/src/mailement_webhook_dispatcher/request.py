"""What is sent: URL, headers and body of one attempt, made from values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mailement_common.ids import EventId
from mailement_common.signing import Signer
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import Sequence
from mailement_webhooks.rules.profiles import PROMISES, maily_event_id

USER_AGENT: Final = "Mailement-Webhook/1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What an attempt is made of. `type` is the profile's word for the event; all copies agree on all but `url`."""

    event_id: EventId
    profile: Profile
    type: str
    body: bytes = field(repr=False)
    sequence: Sequence
    traceparent: str | None
    url: str = field(repr=False)


class SigningSecrets:
    """The secrets of one endpoint, ready to sign: keep it as long as they do not change.

    Raises ValueError if one starts with `whsec_` and no base64 follows.
    """

    __slots__ = ("active", "all")

    def __init__(self, *, active: str, staged: str | None = None, previous: str | None = None) -> None:
        self.active: Final = Signer(active)
        others = tuple(Signer(secret) for secret in (staged, previous) if secret is not None)
        self.all: Final = (self.active, *others)


def request_for(outgoing: Outgoing, *, secrets: SigningSecrets, at: datetime) -> Request:
    """The POST of the profile's document, and beside its headers those of Standard Webhooks.

    The profile's own signature has room for one value and is made with the active secret; `webhook-signature` lists one
    for the active, the staged and the previous secret, of which receivers need one to match.
    """
    promise = PROMISES[outgoing.profile]
    message_id = str(outgoing.event_id)
    timestamp = int(at.timestamp())
    body = outgoing.body
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        promise.event_header: outgoing.type,
        promise.signature_header: promise.signature_prefix + secrets.active.hexadecimal(body),
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join([key.standard(message_id, timestamp, body) for key in secrets.all]),
        "webhook-sequence": str(outgoing.sequence),
    }
    if promise.delivery_id_header is not None:
        headers[promise.delivery_id_header] = maily_event_id(outgoing.event_id)
    if outgoing.traceparent is not None:
        headers["traceparent"] = outgoing.traceparent
    return Request(url=outgoing.url, headers=headers, body=body)
