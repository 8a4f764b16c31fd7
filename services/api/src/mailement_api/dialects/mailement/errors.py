"""Refusals and faults in this dialect's words (section 3, and the README where the document is silent)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mailement_api.json_body import BodyFault, BodyTooLarge, BodyTooSlow, NotAJsonType, NotAnObject, NotJson
from mailement_newsletter.errors import (
    BrandNotFound,
    CannotEnroll,
    DripNotFound,
    Refusal,
    SubscriberNotFound,
)


@dataclass(frozen=True, slots=True)
class Code:
    """A code's HTTP status and what it means, for people."""

    status: int
    message: str


CODES: Final[Mapping[str, Code]] = {
    "missing_api_key": Code(401, "Send the brand's key as `Authorization: Bearer mlm_live_…`."),
    "invalid_api_key": Code(401, "No such key, or it has been revoked."),
    "brand_not_found": Code(404, "The brand behind this key has been deleted."),
    "invalid_email": Code(422, "This is not an address that mail can be sent to."),
    "email_too_long": Code(422, "An address has at most 190 characters."),
    "first_name_too_long": Code(422, "A first name has at most 80 characters."),
    "last_name_too_long": Code(422, "A last name has at most 80 characters."),
    "city_too_long": Code(422, "A city has at most 120 characters."),
    "source_too_long": Code(422, "A source has at most 120 characters."),
    "custom_fields_too_long": Code(422, "A custom field's value has at most 1,000 characters."),
    "missing_subscriber_identifier": Code(422, "Name the subscriber by `email` or `subscriber_id`."),
    "subscriber_not_found": Code(404, "The brand has no such subscriber."),
    "drip_not_found": Code(404, "The brand has no such drip."),
    "enroll_failed": Code(422, "The subscriber cannot be enrolled; `reason` says why."),
    "invalid_first_name": Code(422, "`first_name` is a string without control characters."),
    "invalid_last_name": Code(422, "`last_name` is a string without control characters."),
    "invalid_city": Code(422, "`city` is a string without control characters."),
    "invalid_source": Code(422, "`source` is a string without control characters."),
    "invalid_topic_ids": Code(422, "`topic_ids` is an array of at most 100 positive whole numbers."),
    "invalid_tags": Code(422, "`tags` is an array of at most 100 strings of at most 190 characters."),
    "invalid_add": Code(422, "`add` is an array of at most 100 strings of at most 190 characters."),
    "invalid_remove": Code(422, "`remove` is an array of at most 100 strings of at most 190 characters."),
    "invalid_custom_fields": Code(422, "`custom_fields` is an object of at most 100 plain values."),
    "invalid_auto_confirm": Code(422, "`auto_confirm` is true or false."),
    "invalid_subscriber_id": Code(422, "`subscriber_id` is a positive whole number."),
    "invalid_json": Code(
        400, "The body is not JSON that can be read: UTF-8, each key once, at most 32 levels."
    ),
    "invalid_body": Code(422, "The body is not a JSON object."),
    "not_found": Code(404, "There is no such path."),
    "method_not_allowed": Code(405, "This path takes another method; see `Allow`."),
    "request_timeout": Code(408, "The body did not arrive in time."),
    "body_too_large": Code(413, "The body is larger than allowed."),
    "unsupported_media_type": Code(415, "Send `Content-Type: application/json`."),
    "internal_error": Code(500, "This is our fault; the log has it under this request's id."),
    "service_unavailable": Code(503, "The database cannot be reached; try again."),
}

_REFUSALS: Final[Mapping[type[Refusal], str]] = {
    BrandNotFound: "brand_not_found",
    SubscriberNotFound: "subscriber_not_found",
    DripNotFound: "drip_not_found",
    CannotEnroll: "enroll_failed",
}

_BODY_FAULTS: Final[Mapping[type[BodyFault], str]] = {
    NotJson: "invalid_json",
    NotAnObject: "invalid_body",
    NotAJsonType: "unsupported_media_type",
    BodyTooLarge: "body_too_large",
    BodyTooSlow: "request_timeout",
}


class WireError(Exception):
    """An answer with an error code; `reason` only on `enroll_failed`."""

    def __init__(self, code: str, *, reason: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


def translate(error: Refusal | BodyFault) -> WireError:
    """The wire's word for a refusal of ours. A refusal without one is a mistake of ours: KeyError."""
    if isinstance(error, CannotEnroll):
        return WireError("enroll_failed", reason=error.reason)
    if isinstance(error, BodyFault):
        return WireError(_BODY_FAULTS[type(error)])
    return WireError(_REFUSALS[type(error)])
