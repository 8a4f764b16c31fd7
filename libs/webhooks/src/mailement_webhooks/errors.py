"""Refusals, as facts in our words."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from mailement_common.ids import BrandId
from mailement_webhooks.ids import DeliveryId, EndpointId, ReplayId


class RotationStep(StrEnum):
    """`settled`: one secret signs. `staged`: a new one signs beside it. `promoted`: the new one has taken its place."""

    SETTLED = "settled"
    STAGED = "staged"
    PROMOTED = "promoted"


class Refusal(Exception):
    """A command cannot be carried out, and nothing was changed."""


class UrlRefused(Refusal):
    """The URL cannot be a webhook target; `reason` says why in words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InvalidEndpoint(Refusal):
    """A value that an endpoint cannot have; `field` names it, `reason` says why in words."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class OwnerNotFound(Refusal):
    """There is no such brand or account, or it has been deleted."""


class TooManyEndpoints(Refusal):
    """The brand, or the account, has as many endpoints as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} endpoints already, which is the most there can be")
        self.most = most


class NoEndpoint(Refusal):
    """The brand has no webhook endpoint."""

    def __init__(self, brand_id: BrandId) -> None:
        super().__init__(f"brand {brand_id} has no webhook endpoint")
        self.brand_id = brand_id


class SeveralEndpoints(Refusal):
    """The brand has several endpoints, and it was not said which one is meant."""

    def __init__(self, endpoint_ids: Sequence[EndpointId]) -> None:
        super().__init__(
            f"the brand has several endpoints: say which one of {', '.join(map(str, endpoint_ids))}"
        )
        self.endpoint_ids = tuple(endpoint_ids)


class EndpointNotFound(Refusal):
    """There is no such endpoint, it has been deleted, or it is not for this brand to see."""

    def __init__(self, endpoint_id: EndpointId) -> None:
        super().__init__(f"there is no endpoint {endpoint_id}")
        self.endpoint_id = endpoint_id


class WrongRotationStep(Refusal):
    """The rotation of the endpoint's secret is not where this step begins; `step` is where it is."""

    def __init__(self, step: RotationStep) -> None:
        super().__init__(f"the rotation of the secret does not allow this: it is {step}")
        self.step = step


class DeliveryNotFound(Refusal):
    """There is no such delivery, or it is not for this brand to see."""

    def __init__(self, delivery_id: DeliveryId) -> None:
        super().__init__(f"there is no delivery {delivery_id}")
        self.delivery_id = delivery_id


class DeliveryUnderWay(Refusal):
    """An attempt is being made at this moment."""

    def __init__(self, delivery_id: DeliveryId) -> None:
        super().__init__(f"delivery {delivery_id} is being sent at this moment")
        self.delivery_id = delivery_id


class PayloadRemoved(Refusal):
    """What would be sent is no longer there."""

    def __init__(self, delivery_id: DeliveryId) -> None:
        super().__init__(f"the payload of delivery {delivery_id} has been removed")
        self.delivery_id = delivery_id


class EndpointDeleted(Refusal):
    """The delivery is for an endpoint that has been deleted."""

    def __init__(self, endpoint_id: EndpointId) -> None:
        super().__init__(f"endpoint {endpoint_id} has been deleted")
        self.endpoint_id = endpoint_id


class BadCursor(Refusal):
    """Not a cursor that came with a page of the same list."""


class InvalidReplay(Refusal):
    """A value that a replay cannot have; `field` names it, `reason` says why in words."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class TooManyReplays(Refusal):
    """The endpoint has as many replays that have not ended as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} replays at work already, which is the most there can be")
        self.most = most


class ReplayNotFound(Refusal):
    """There is no such replay, or it is not for this brand to see."""

    def __init__(self, replay_id: ReplayId) -> None:
        super().__init__(f"there is no replay {replay_id}")
        self.replay_id = replay_id


class ReplayHasEnded(Refusal):
    """A replay that is finished or cancelled stays so."""

    def __init__(self, replay_id: ReplayId) -> None:
        super().__init__(f"replay {replay_id} has ended")
        self.replay_id = replay_id


class FactsMissing(Exception):
    """The event lacks what a payload is made of; `reason` says what."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
