"""What can be asked for. Validated by the door that the wish came through; in our words, not the wire's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mailement_common.ids import BrandId, SubscriberId
from mailement_newsletter.rules import names
from mailement_newsletter.rules.addresses import Address

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByEmail:
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ById:
    subscriber_id: SubscriberId


Who: TypeAlias = ByEmail | ById


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Find or create. `topic_ids` None leaves memberships alone, () clears them; `tags` only add."""

    brand_id: BrandId
    address: Address
    first_name: str | None = None
    last_name: str | None = None
    city: str | None = None
    custom_fields: Mapping[str, Scalar] = field(default_factory=dict)
    topic_ids: tuple[int, ...] | None = None
    tags: tuple[str, ...] = ()
    source: str = "api"
    auto_confirm: bool = False
    traceparent: str | None = None

    def __post_init__(self) -> None:
        """Raises InvalidName: no door lets in what the columns and the mails are not made for."""
        for what, text, most in (
            ("a first name", self.first_name, names.MAX_FIRST_NAME),
            ("a last name", self.last_name, names.MAX_LAST_NAME),
            ("a city", self.city, names.MAX_CITY),
            ("a source", self.source, names.MAX_SOURCE),
        ):
            if text is not None:
                names.line(what, text, most)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTags:
    """A slug that stands in both is removed."""

    brand_id: BrandId
    who: Who
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enroll:
    brand_id: BrandId
    drip_id: int
    who: Who
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEvent:
    """`name` is the brand's own word: letters, digits, `_`, `.`, `:` and `-`, 100 characters at most.

    `given_id`: what the brand knows it by, of the same alphabet, 64 characters at most; None: each report is an event of its own.
    """

    brand_id: BrandId
    who: Who
    name: str
    properties: Mapping[str, Scalar] = field(default_factory=dict)
    given_id: str | None = None
    traceparent: str | None = None

    def __post_init__(self) -> None:
        """Raises InvalidName."""
        names.event_name(self.name)
        if self.given_id is not None:
            names.given_id(self.given_id)
