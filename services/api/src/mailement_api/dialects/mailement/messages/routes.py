"""From path and method to deed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mailement_api.dialects.mailement.messages import deeds
from mailement_api.dialects.mailement.messages.deeds import Deed, Deps
from mailement_api.dialects.mailement.resource import Resource

DEEDS: Final[Mapping[str, Mapping[str, Deed]]] = {
    "/messages": {"GET": deeds.list_},
    "/messages/{id}": {"GET": deeds.show},
}


def resources(deps: Deps) -> dict[str, Resource[Deps]]:
    """The resources by their paths below `/api/v1`."""
    return {path: Resource(path, deps, each) for path, each in DEEDS.items()}
