"""From path and method to deed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mailement_api.dialects.mailement.resource import Resource
from mailement_api.dialects.mailement.webhooks import deliveries, endpoints, replays
from mailement_api.dialects.mailement.webhooks.resource import Deed, Deps

DEEDS: Final[Mapping[str, Mapping[str, Deed]]] = {
    "/webhooks/endpoints": {"GET": endpoints.list_, "POST": endpoints.create},
    "/webhooks/endpoints/{id}": {
        "GET": endpoints.show,
        "PATCH": endpoints.change,
        "DELETE": endpoints.delete,
    },
    "/webhooks/endpoints/{id}/pause": {"POST": endpoints.pause},
    "/webhooks/endpoints/{id}/enable": {"POST": endpoints.enable},
    "/webhooks/endpoints/{id}/secret/stage": {"POST": endpoints.stage},
    "/webhooks/endpoints/{id}/secret/promote": {"POST": endpoints.promote},
    "/webhooks/endpoints/{id}/secret/retire": {"POST": endpoints.retire},
    "/webhooks/endpoints/{id}/secret/rollback": {"POST": endpoints.rollback},
    "/webhooks/deliveries": {"GET": deliveries.list_},
    "/webhooks/deliveries/{id}": {"GET": deliveries.show},
    "/webhooks/deliveries/{id}/resend": {"POST": deliveries.resend},
    "/webhooks/deliveries/{id}/explain": {"GET": deliveries.explain},
    "/webhooks/deliveries/{id}/payload": {"DELETE": deliveries.remove},
    "/webhooks/events": {"GET": deliveries.pull},
    "/webhooks/replays": {"GET": replays.list_, "POST": replays.start},
    "/webhooks/replays/{id}": {"GET": replays.show, "PATCH": replays.change},
    "/webhooks/replays/{id}/pause": {"POST": replays.pause},
    "/webhooks/replays/{id}/resume": {"POST": replays.resume},
    "/webhooks/replays/{id}/cancel": {"POST": replays.cancel},
}


def resources(deps: Deps) -> dict[str, Resource[Deps]]:
    """The resources by their paths below `/api/v1`."""
    return {path: Resource(path, deps, deeds) for path, deeds in DEEDS.items()}
