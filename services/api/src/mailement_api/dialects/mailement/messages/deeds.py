"""Deeds on a brand's messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from mailement_api.dialects.mailement import resource
from mailement_api.dialects.mailement.messages import requests, responses
from mailement_api.dialects.mailement.query import limit_of
from mailement_api.dialects.mailement.resource import Call
from mailement_api.keys import KeyCache
from mailement_newsletter.usecases.list_messages import list_messages
from mailement_newsletter.usecases.show_message import show_message


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    pool: asyncpg.Pool
    keys: KeyCache
    max_body_bytes: int


Deed = resource.Deed[Deps]


async def list_(deps: Deps, call: Call) -> Mapping[str, object]:
    wanted = requests.parse_filter(call.brand, call.query)
    limit, before = limit_of(call.query), requests.before_of(call.query)
    return responses.page(await list_messages(deps.pool, wanted, limit=limit, before=before))


async def show(deps: Deps, call: Call) -> Mapping[str, object]:
    message_id = requests.message_id_in(call.id)
    call.note(message_id=message_id)
    return responses.report(await show_message(deps.pool, message_id, brand_id=call.brand))
