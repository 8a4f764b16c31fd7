"""What the deeds on webhooks need."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from mailement_api.dialects.mailement import resource
from mailement_api.keys import KeyCache
from mailement_common.sealing import KeyRing
from mailement_webhooks.rules.guard import Guard
from mailement_webhooks.settings import WebhookWaitSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """`ring` seals secrets, `guard` says where webhooks may go, `waits` is what the dispatchers are set to."""

    pool: asyncpg.Pool
    keys: KeyCache
    ring: KeyRing
    guard: Guard
    waits: WebhookWaitSettings
    max_body_bytes: int


Deed = resource.Deed[Deps]
