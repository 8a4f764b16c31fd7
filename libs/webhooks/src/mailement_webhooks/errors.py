"""Refusals, as facts in our words."""

from __future__ import annotations

from mailement_common.ids import BrandId


class Refusal(Exception):
    """A command cannot be carried out, and nothing was changed."""


class UrlRefused(Refusal):
    """The URL cannot be a webhook target; `reason` says why in words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoEndpoint(Refusal):
    """The brand has no webhook endpoint."""

    def __init__(self, brand_id: BrandId) -> None:
        super().__init__(f"brand {brand_id} has no webhook endpoint")
        self.brand_id = brand_id


class NotASubscriberEvent(Exception):
    """The event lacks what a payload is made of; `reason` says what."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
