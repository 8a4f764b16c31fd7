"""The five endpoints, for tests that hold for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.support.brands import READER


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`family`: what its answers call their success. `body`: the least that it takes."""

    path: str
    family: str
    cors: bool
    custom_header: bool
    body: Mapping[str, object]


SUBSCRIBE = Endpoint(
    path="/api/v1/subscribe", family="ok", cors=True, custom_header=False, body={"email": READER}
)
SUBSCRIBERS = Endpoint(
    path="/api/v1/subscribers", family="success", cors=True, custom_header=True, body={"email": READER}
)
UNSUBSCRIBE = Endpoint(
    path="/api/v1/subscribers/unsubscribe",
    family="success",
    cors=False,
    custom_header=True,
    body={"email": READER},
)
TAGS = Endpoint(
    path="/api/v1/subscribers/tags",
    family="success",
    cors=False,
    custom_header=True,
    body={"email": READER, "add": ["weekly"]},
)
# In a fresh database the first drip has the id 1.
ENROLL = Endpoint(
    path="/api/v1/drips/1/enroll", family="ok", cors=True, custom_header=False, body={"email": READER}
)

ENDPOINTS = (SUBSCRIBE, SUBSCRIBERS, UNSUBSCRIBE, TAGS, ENROLL)
SIGNING_UP = (SUBSCRIBE, SUBSCRIBERS)
BY_SUBSCRIBER = (UNSUBSCRIBE, TAGS, ENROLL)


def each(*endpoints: Endpoint) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("endpoint", endpoints, ids=lambda endpoint: endpoint.path)
