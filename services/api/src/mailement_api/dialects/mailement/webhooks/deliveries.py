"""Deeds on a brand's deliveries, and what its endpoints missed."""

from __future__ import annotations

from collections.abc import Mapping

from mailement_api.dialects.mailement.query import cursor_of, limit_of
from mailement_api.dialects.mailement.resource import Call
from mailement_api.dialects.mailement.webhooks import requests, responses
from mailement_api.dialects.mailement.webhooks.resource import Deps
from mailement_webhooks.ids import DeliveryId
from mailement_webhooks.usecases.explain_delivery import explain_delivery
from mailement_webhooks.usecases.list_deliveries import list_deliveries
from mailement_webhooks.usecases.list_endpoints import only_endpoint
from mailement_webhooks.usecases.pull_events import pull_events
from mailement_webhooks.usecases.remove_payload import remove_payload
from mailement_webhooks.usecases.resend_delivery import resend_delivery
from mailement_webhooks.usecases.show_delivery import show_delivery


async def list_(deps: Deps, call: Call) -> Mapping[str, object]:
    wanted = requests.parse_delivery_filter(call.brand, call.query)
    limit, cursor = limit_of(call.query), cursor_of(call.query)
    return responses.page(await list_deliveries(deps.pool, wanted, limit=limit, cursor=cursor))


async def show(deps: Deps, call: Call) -> Mapping[str, object]:
    return responses.delivery_report(await show_delivery(deps.pool, _delivery_id(call), brand_id=call.brand))


async def resend(deps: Deps, call: Call) -> Mapping[str, object]:
    queued = await resend_delivery(deps.pool, _delivery_id(call), brand_id=call.brand)
    return {"delivery": responses.delivery(queued)}


async def explain(deps: Deps, call: Call) -> Mapping[str, object]:
    return responses.explanation(
        await explain_delivery(deps.pool, _delivery_id(call), waits=deps.waits, brand_id=call.brand)
    )


async def remove(deps: Deps, call: Call) -> Mapping[str, object]:
    return responses.removed(await remove_payload(deps.pool, _delivery_id(call), brand_id=call.brand))


async def pull(deps: Deps, call: Call) -> Mapping[str, object]:
    after, limit = requests.after_of(call.query), limit_of(call.query)
    endpoint_id = requests.endpoint_id_of(call.query)
    if endpoint_id is None:
        endpoint_id = (await only_endpoint(deps.pool, call.brand)).id
    call.note(endpoint_id=endpoint_id)
    return responses.pulled(
        await pull_events(deps.pool, endpoint_id, after=after, limit=limit, brand_id=call.brand)
    )


def _delivery_id(call: Call) -> DeliveryId:
    delivery_id = requests.delivery_id_in(call.id)
    call.note(delivery_id=delivery_id)
    return delivery_id
