"""From path and method to deed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from mailement_api.dialects.mailement.drips import deeds
from mailement_api.dialects.mailement.drips.deeds import Deed, Deps
from mailement_api.dialects.mailement.resource import Resource
from mailement_newsletter.rules.scopes import KeyScope

# A definition holds the words of up to two hundred mails.
MAX_DEFINITION_BYTES: Final = 4 * 1024 * 1024

_DEFINITIONS: Final[Mapping[str, Mapping[str, Deed]]] = {
    "/drips": {"GET": deeds.list_, "POST": deeds.create},
    "/drips/{id}": {"GET": deeds.show, "PUT": deeds.replace, "PATCH": deeds.change},
    "/drips/{id}/preview": {"POST": deeds.preview},
}
_OTHERS: Final[Mapping[str, Mapping[str, Deed]]] = {
    "/drips/{id}/pause": {"POST": deeds.pause},
    "/drips/{id}/resume": {"POST": deeds.resume},
    "/drips/{id}/archive": {"POST": deeds.archive},
    "/drips/{id}/retry": {"POST": deeds.retry},
    "/drips/{id}/runs": {"GET": deeds.runs},
    "/drips/{id}/stats": {"GET": deeds.stats},
    "/drips/{id}/simulate": {"GET": deeds.simulate},
    "/runs": {"GET": deeds.runs_of_subscriber},
    "/runs/{id}": {"GET": deeds.show_one_run},
    "/runs/{id}/explain": {"GET": deeds.explain},
    "/runs/{id}/exit": {"POST": deeds.exit_one_run},
}
_EVENTS: Final[Mapping[str, Mapping[str, Deed]]] = {"/events": {"POST": deeds.report}}

_MAY_WRITE: Final = frozenset({KeyScope.DRIPS_WRITE})
_MAY_TELL: Final = frozenset({KeyScope.DRIPS_WRITE, KeyScope.EVENTS_WRITE})


def resources(deps: Deps) -> dict[str, Resource[Deps]]:
    """The resources by their paths below `/api/v1`."""
    roomy = replace(deps, max_body_bytes=max(deps.max_body_bytes, MAX_DEFINITION_BYTES))
    return {
        path: Resource(path, given, each, scopes=scopes)
        for found, given, scopes in (
            (_DEFINITIONS, roomy, _MAY_WRITE),
            (_OTHERS, deps, _MAY_WRITE),
            (_EVENTS, deps, _MAY_TELL),
        )
        for path, each in found.items()
    }
