"""Refusals and faults in this dialect's words (section 3, and the README where the document is silent)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mailement_api.json_body import BodyFault, BodyTooLarge, BodyTooSlow, NotAJsonType, NotAnObject, NotJson
from mailement_newsletter.errors import (
    BadCursor,
    BrandNotFound,
    CannotEnroll,
    DripArchived,
    DripIsADraft,
    DripIsRespaced,
    DripNotFound,
    InvalidDrip,
    MessageNotFound,
    Refusal,
    RunNotFound,
    SubscriberNotFound,
    TooBusy,
    VersionConflict,
)
from mailement_webhooks import errors as webhooks


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

# What the document does not have: of every list of ours.
LIST_CODES: Final[Mapping[str, Code]] = {
    "invalid_state": Code(422, "`state` is none that these can be in."),
    "invalid_from": Code(422, "`from` is not a moment like `2026-05-19T17:42:00Z`."),
    "invalid_until": Code(422, "`until` is not a moment like `2026-05-19T17:42:00Z`, or not after `from`."),
    "invalid_limit": Code(422, "`limit` is a whole number from 1 to 100."),
    "invalid_cursor": Code(422, "`cursor` is not one that came with a page of this list."),
}

# Only below /api/v1/webhooks.
WEBHOOK_CODES: Final[Mapping[str, Code]] = {
    "endpoint_not_found": Code(404, "The brand has no such webhook endpoint."),
    "delivery_not_found": Code(404, "The brand has no such delivery."),
    "replay_not_found": Code(404, "The brand has no such replay."),
    "invalid_url": Code(422, "This is not a URL that can be posted to; `reason` says why."),
    "invalid_profile": Code(422, "`profile` is `mailement` or `maily`."),
    "invalid_event_types": Code(422, "`event_types` is an array of events that the profile knows."),
    "invalid_description": Code(422, "`description` is a string of at most 200 characters."),
    "invalid_retries": Code(422, "`retries` is `schedule` or `once`."),
    "invalid_ordered": Code(422, "`ordered` is true or false."),
    "invalid_max_in_flight": Code(422, "`max_in_flight` is a whole number from 1 to 1,000."),
    "invalid_rate_per_second": Code(
        422, "`rate_per_second` is a number from 0.001; `reason` says up to which."
    ),
    "invalid_drain": Code(422, "`drain` is `oldest_first`, `newest_only` or `discard`."),
    "too_many_endpoints": Code(409, "The brand has as many webhook endpoints as it may have."),
    "wrong_rotation_step": Code(
        409, "The rotation of the secret is not where this step begins; `reason` says where it is."
    ),
    "invalid_type": Code(422, "`type` is not the name of an event."),
    "invalid_after": Code(422, "`after` is a whole number from 0, a `webhook-sequence`."),
    "invalid_endpoint_id": Code(422, "`endpoint_id` is the id of a webhook endpoint."),
    "missing_endpoint_id": Code(422, "The brand has several webhook endpoints: name one by `endpoint_id`."),
    "invalid_types": Code(422, "`types` is an array of events that are posted to the endpoint."),
    "invalid_outcomes": Code(422, "`outcomes` is an array of `delivered`, `failed`, `discarded`."),
    "invalid_dry_run": Code(422, "`dry_run` is true or false."),
    "delivery_under_way": Code(409, "The delivery is being sent at this moment."),
    "payload_removed": Code(409, "What would be sent has been removed."),
    "endpoint_deleted": Code(409, "The delivery's endpoint has been deleted."),
    "too_many_replays": Code(409, "The endpoint has as many replays at work as it may have."),
    "replay_has_ended": Code(409, "The replay is finished or cancelled."),
}

# Only below /api/v1/messages.
MESSAGE_CODES: Final[Mapping[str, Code]] = {
    "message_not_found": Code(404, "The brand has no such message."),
    "invalid_drip_id": Code(422, "`drip_id` is the id of a drip."),
    "invalid_kind": Code(422, "`kind` is `drip`, `transactional` or `campaign`."),
}

# Only below /api/v1/drips, /api/v1/runs and /api/v1/events.
DRIP_CODES: Final[Mapping[str, Code]] = {
    "insufficient_scope": Code(
        403,
        "This key may only read here; `mailement key create --scope` makes one that may do what `reason` says.",
    ),
    "run_not_found": Code(404, "The brand has no such run."),
    "version_conflict": Code(
        409, "Somebody else has changed the drip; `version` is the one that it has now."
    ),
    "drip_archived": Code(409, "The drip is archived, and stays as it is."),
    "drip_is_a_draft": Code(409, "The drip has never been live; an edit with `state: live` lets it begin."),
    "drip_is_respaced": Code(
        409, "An edit has moved the drip's steps, and its runs are still being moved along; resume it later."
    ),
    "invalid_drip": Code(422, "This is no drip; `errors` has all that is wrong, with its place."),
    "too_busy": Code(
        503, "Other drips' mails are being tried at this moment; nothing was changed, try again."
    ),
    "invalid_subscriber": Code(422, "`subscriber` is the address or the id of a subscriber."),
    "invalid_topics": Code(422, "`topics` is a list of at most 100 slugs, separated by commas."),
    "invalid_fields": Code(
        422, "`field.<key>` is text of at most 1,000 characters, and there are at most 100."
    ),
    "invalid_replace": Code(422, "`replace` is true or false."),
    "invalid_dry_run": Code(422, "`dry_run` is true or false."),
    "invalid_event": Code(422, "`event` has 1 to 100 of letters, digits, `_`, `.`, `:` and `-`."),
    "invalid_id": Code(422, "`id` has 1 to 64 of letters, digits, `_`, `.`, `:` and `-`."),
    "invalid_properties": Code(422, "`properties` is an object of at most 100 plain values."),
    "properties_too_long": Code(422, "A property's value has at most 1,000 characters."),
}

# What each error schema of the OpenAPI document has on top of CODES.
ADDITIONS: Final[Mapping[str, Mapping[str, Code]]] = {
    "webhook_error": {**LIST_CODES, **WEBHOOK_CODES},
    "drip_error": {**LIST_CODES, **DRIP_CODES},
    "message_error": {**LIST_CODES, **MESSAGE_CODES},
}

ALL_CODES: Final[Mapping[str, Code]] = {
    **CODES,
    **{name: code for added in ADDITIONS.values() for name, code in added.items()},
}

_REFUSALS: Final[Mapping[type[Refusal | webhooks.Refusal], str]] = {
    BrandNotFound: "brand_not_found",
    SubscriberNotFound: "subscriber_not_found",
    DripNotFound: "drip_not_found",
    CannotEnroll: "enroll_failed",
    RunNotFound: "run_not_found",
    DripArchived: "drip_archived",
    DripIsADraft: "drip_is_a_draft",
    DripIsRespaced: "drip_is_respaced",
    TooBusy: "too_busy",
    BadCursor: "invalid_cursor",
    MessageNotFound: "message_not_found",
    webhooks.OwnerNotFound: "brand_not_found",
    webhooks.NoEndpoint: "endpoint_not_found",
    webhooks.EndpointNotFound: "endpoint_not_found",
    webhooks.SeveralEndpoints: "missing_endpoint_id",
    webhooks.TooManyEndpoints: "too_many_endpoints",
    webhooks.DeliveryNotFound: "delivery_not_found",
    webhooks.DeliveryUnderWay: "delivery_under_way",
    webhooks.PayloadRemoved: "payload_removed",
    webhooks.EndpointDeleted: "endpoint_deleted",
    webhooks.BadCursor: "invalid_cursor",
    webhooks.TooManyReplays: "too_many_replays",
    webhooks.ReplayNotFound: "replay_not_found",
    webhooks.ReplayHasEnded: "replay_has_ended",
}

_BODY_FAULTS: Final[Mapping[type[BodyFault], str]] = {
    NotJson: "invalid_json",
    NotAnObject: "invalid_body",
    NotAJsonType: "unsupported_media_type",
    BodyTooLarge: "body_too_large",
    BodyTooSlow: "request_timeout",
}


class WireError(Exception):
    """An answer with an error code; `reason` where that alone does not say enough, `details` where there is more to it."""

    def __init__(
        self, code: str, *, reason: str | None = None, details: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason
        self.details = details

    @property
    def meaning(self) -> Code:
        return ALL_CODES[self.code]


def translate(error: Refusal | webhooks.Refusal | BodyFault) -> WireError:
    """The wire's word for a refusal of ours. A refusal without one is a mistake of ours: KeyError."""
    match error:
        case BodyFault():
            return WireError(_BODY_FAULTS[type(error)])
        case CannotEnroll():
            return WireError("enroll_failed", reason=error.reason)
        case VersionConflict():
            return WireError("version_conflict", details={"version": error.version})
        case InvalidDrip():
            found = [{"at": fault.at, "message": fault.message} for fault in error.faults]
            return WireError("invalid_drip", details={"errors": found})
        case webhooks.UrlRefused():
            return WireError("invalid_url", reason=error.reason)
        case webhooks.InvalidEndpoint() | webhooks.InvalidReplay():
            return WireError(f"invalid_{error.field}", reason=error.reason)
        case webhooks.WrongRotationStep():
            return WireError("wrong_rotation_step", reason=error.step)
        case _:
            return WireError(_REFUSALS[type(error)])
