"""Deeds on a brand's endpoints and their secrets."""

from __future__ import annotations

from collections.abc import Mapping

from mailement_api.dialects.mailement.resource import Call
from mailement_api.dialects.mailement.webhooks import requests, responses
from mailement_api.dialects.mailement.webhooks.resource import Deps
from mailement_webhooks.endpoints import Endpoint
from mailement_webhooks.ids import EndpointId
from mailement_webhooks.usecases.create_endpoint import create_endpoint
from mailement_webhooks.usecases.delete_endpoint import delete_endpoint
from mailement_webhooks.usecases.enable_endpoint import enable_endpoint
from mailement_webhooks.usecases.list_endpoints import list_endpoints
from mailement_webhooks.usecases.pause_endpoint import pause_endpoint
from mailement_webhooks.usecases.promote_secret import promote_secret
from mailement_webhooks.usecases.retire_secret import retire_secret
from mailement_webhooks.usecases.rollback_secret import rollback_secret
from mailement_webhooks.usecases.show_endpoint import show_endpoint
from mailement_webhooks.usecases.stage_secret import stage_secret
from mailement_webhooks.usecases.update_endpoint import update_endpoint


async def list_(deps: Deps, call: Call) -> Mapping[str, object]:
    found = await list_endpoints(deps.pool, brand_id=call.brand)
    return {"endpoints": [responses.endpoint(each) for each in found]}


async def create(deps: Deps, call: Call) -> Mapping[str, object]:
    new = requests.parse_new_endpoint(call.brand, call.document)
    made, secret = await create_endpoint(deps.pool, deps.ring, new, guard=deps.guard)
    call.note(endpoint_id=made.id)
    return {"endpoint": responses.endpoint(made), "secret": secret}


async def show(deps: Deps, call: Call) -> Mapping[str, object]:
    report = await show_endpoint(deps.pool, _endpoint_id(call), brand_id=call.brand)
    return {"endpoint": responses.endpoint_report(report)}


async def change(deps: Deps, call: Call) -> Mapping[str, object]:
    endpoint_id, changes = _endpoint_id(call), requests.parse_changes(call.document)
    async with deps.pool.acquire() as connection:
        changed = await update_endpoint(
            connection, endpoint_id, changes, guard=deps.guard, brand_id=call.brand
        )
    return _shown(changed)


async def delete(deps: Deps, call: Call) -> Mapping[str, object]:
    endpoint_id = _endpoint_id(call)
    await delete_endpoint(deps.pool, endpoint_id, brand_id=call.brand)
    return {"deleted": endpoint_id}


async def pause(deps: Deps, call: Call) -> Mapping[str, object]:
    return _shown(await pause_endpoint(deps.pool, _endpoint_id(call), brand_id=call.brand))


async def enable(deps: Deps, call: Call) -> Mapping[str, object]:
    endpoint_id, drain = _endpoint_id(call), requests.parse_drain(call.document)
    async with deps.pool.acquire() as connection:
        enabled = await enable_endpoint(connection, endpoint_id, drain=drain, brand_id=call.brand)
    return _shown(enabled)


async def stage(deps: Deps, call: Call) -> Mapping[str, object]:
    staged, secret = await stage_secret(deps.pool, deps.ring, _endpoint_id(call), brand_id=call.brand)
    return {**_shown(staged), "secret": secret}


async def promote(deps: Deps, call: Call) -> Mapping[str, object]:
    return _shown(await promote_secret(deps.pool, _endpoint_id(call), brand_id=call.brand))


async def retire(deps: Deps, call: Call) -> Mapping[str, object]:
    return _shown(await retire_secret(deps.pool, _endpoint_id(call), brand_id=call.brand))


async def rollback(deps: Deps, call: Call) -> Mapping[str, object]:
    return _shown(await rollback_secret(deps.pool, _endpoint_id(call), brand_id=call.brand))


def _endpoint_id(call: Call) -> EndpointId:
    endpoint_id = requests.endpoint_id_in(call.id)
    call.note(endpoint_id=endpoint_id)
    return endpoint_id


def _shown(endpoint: Endpoint) -> Mapping[str, object]:
    return {"endpoint": responses.endpoint(endpoint)}
