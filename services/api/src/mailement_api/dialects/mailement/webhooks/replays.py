"""Deeds on the replays of a brand's endpoints."""

from __future__ import annotations

from collections.abc import Mapping

from mailement_api.dialects.mailement.query import limit_of
from mailement_api.dialects.mailement.resource import Call
from mailement_api.dialects.mailement.webhooks import requests, responses
from mailement_api.dialects.mailement.webhooks.resource import Deps
from mailement_webhooks.ids import ReplayId
from mailement_webhooks.replays import Replay
from mailement_webhooks.usecases.change_replay import (
    cancel_replay,
    pause_replay,
    resume_replay,
    set_replay_rate,
)
from mailement_webhooks.usecases.list_endpoints import only_endpoint
from mailement_webhooks.usecases.list_replays import list_replays, show_replay
from mailement_webhooks.usecases.start_replay import count_replay, start_replay


async def list_(deps: Deps, call: Call) -> Mapping[str, object]:
    limit = limit_of(call.query)
    found = await list_replays(
        deps.pool,
        brand_id=call.brand,
        endpoint_id=requests.endpoint_id_of(call.query),
        limit=limit + 1,
        before=requests.before_of(call.query),
    )
    following = str(found[limit - 1].id) if len(found) > limit else None
    return {"replays": [responses.replay(each) for each in found[:limit]], "cursor": following}


async def start(deps: Deps, call: Call) -> Mapping[str, object]:
    endpoint_id, wanted, rate, dry_run = requests.parse_replay(call.document)
    if endpoint_id is None:
        endpoint_id = (await only_endpoint(deps.pool, call.brand)).id
    call.note(endpoint_id=endpoint_id)
    if dry_run:
        count = await count_replay(deps.pool, endpoint_id, wanted, brand_id=call.brand)
        return {"dry_run": True, "total": count.deliveries, "total_is_exact": count.is_exact}
    started = await start_replay(deps.pool, endpoint_id, wanted, rate_per_second=rate, brand_id=call.brand)
    return _shown(started)


async def show(deps: Deps, call: Call) -> Mapping[str, object]:
    return _shown(await show_replay(deps.pool, _replay_id(call), brand_id=call.brand))


async def change(deps: Deps, call: Call) -> Mapping[str, object]:
    replay_id, rate = _replay_id(call), requests.parse_rate(call.document)
    return _shown(await set_replay_rate(deps.pool, replay_id, rate, brand_id=call.brand))


async def pause(deps: Deps, call: Call) -> Mapping[str, object]:
    return _shown(await pause_replay(deps.pool, _replay_id(call), brand_id=call.brand))


async def resume(deps: Deps, call: Call) -> Mapping[str, object]:
    return _shown(await resume_replay(deps.pool, _replay_id(call), brand_id=call.brand))


async def cancel(deps: Deps, call: Call) -> Mapping[str, object]:
    return _shown(await cancel_replay(deps.pool, _replay_id(call), brand_id=call.brand))


def _replay_id(call: Call) -> ReplayId:
    replay_id = requests.replay_id_in(call.id)
    call.note(replay_id=replay_id)
    return replay_id


def _shown(replay: Replay) -> Mapping[str, object]:
    return {"replay": responses.replay(replay)}
