"""What is wrong with an endpoint, and what to do, in words for the people who run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mailement_webhooks.deliveries import Reason

_WORDS: Final[Mapping[Reason, str]] = {
    Reason.DNS: "The host's name cannot be resolved: check its spelling and its DNS records.",
    Reason.BLOCKED_ADDRESS: (
        "The URL leads to an address that is not public: use a public one, or allow its network in "
        "MAILEMENT_WEBHOOK_ALLOW_CIDRS."
    ),
    Reason.CONNECT_REFUSED: (
        "Nothing listens at that address and port: start the receiver, or correct the port in the URL."
    ),
    Reason.CONNECT_TIMEOUT: (
        "No connection came about in time: look for a firewall that drops packets, or a host that is down."
    ),
    Reason.CONNECT_FAILED: "There is no way to the address: check the receiver's network and its DNS records.",
    Reason.TLS: (
        "No trusted TLS connection: renew the certificate, send the whole chain, and see that it names the host."
    ),
    Reason.RESET: (
        "The connection was cut before an answer: look into the receiver's log, or that of the proxy before it."
    ),
    Reason.READ_TIMEOUT: "No answer came in time: answer 2xx at once and do the work afterwards.",
    Reason.BODY_TIMEOUT: "An answer began and did not end in time: send a short body, or none.",
    Reason.BAD_RESPONSE: (
        "What came back is not a whole HTTP answer: see that the port speaks HTTP and Content-Length is right."
    ),
    Reason.BAD_URL: "The URL cannot be dialled: correct it.",
    Reason.REDIRECT: "The endpoint redirects, which is not followed: set the URL that it points to.",
    Reason.HTTP_4XX: "The receiver refused the request: look into its log for why.",
    Reason.HTTP_5XX: "The receiver had a fault of its own: look into its log.",
    Reason.HTTP_OTHER: "The receiver answered with a status that means nothing here: answer 2xx when all is well.",
    Reason.SECRET_UNREADABLE: (
        "The endpoint's secret cannot be decrypted: put the key it was sealed with back into MAILEMENT_SECRET_KEYS, "
        "or give the endpoint a new secret."
    ),
    Reason.PAYLOAD_REMOVED: "The payload was removed, by hand or by age: nothing can be sent any more.",
    Reason.INTERNAL_ERROR: "A mistake of ours, not of the receiver: please report it with the delivery's id.",
    Reason.INTERRUPTED: (
        "The dispatcher was stopped during the attempt: another follows, and the receiver may see the event twice."
    ),
    Reason.ENDPOINT_DELETED: "The endpoint was deleted before this was sent: there is nothing to do.",
    Reason.HOLD_EXPIRED: (
        "This was held longer than deliveries are kept: enable the endpoint, then replay what it missed."
    ),
    Reason.DRAINED: "This was discarded when the endpoint was enabled again: resend it if it is wanted after all.",
    Reason.REPLAY_CANCELLED: "The replay that it belonged to was cancelled: start another if it is wanted after all.",
}
_WORDS_FOR_STATUS: Final[Mapping[int, str]] = {
    401: "The receiver does not accept the signature: check that it uses this endpoint's secret and the raw body.",
    403: "The receiver lets nobody in: see whether a firewall, a login or a signature check stands before it.",
    404: "Nothing is at this path: correct the URL, or put the receiver's route in place.",
    405: "This path takes no POST: correct the URL, or the receiver's route.",
    408: "The receiver gave up waiting for the request: it is overloaded, or a proxy before it is.",
    410: "The receiver says that it is gone for good: correct the URL; a second 410 in a row disables the endpoint.",
    413: "The receiver finds the body too large: raise its limit.",
    425: "The receiver does not want the request yet: look into its log, or that of the proxy before it, for why.",
    429: "The receiver asks for fewer requests: give the endpoint a rate limit.",
    502: "A proxy stands before the receiver and cannot reach it: start the receiver.",
    503: "The receiver says that it is not available: see whether it is being updated, overloaded, or down.",
    504: "A proxy stands before the receiver and got no answer from it: look into the receiver's log.",
}


def plain_words(reason: Reason, status: int | None = None) -> str:
    """One sentence: what is wrong, and what to do. `status`: what the endpoint answered, if it did."""
    if status is not None and reason in {Reason.HTTP_4XX, Reason.HTTP_5XX}:
        return _WORDS_FOR_STATUS.get(status, _WORDS[reason])
    return _WORDS[reason]
