"""Whether a request's signatures fit a secret."""

from __future__ import annotations

import hmac
import re
from enum import StrEnum
from typing import Final

from mailement_cli.torture.received import Received
from mailement_common.signing import mailement_signature, maily_signature, standard_signature

_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")


class Verdict(StrEnum):
    GOOD = "good"
    BAD = "bad"
    MISSING = "missing"


def verdict(request: Received, secret: str) -> Verdict:
    """Good if there are signatures and all headers that carry them fit. Raises ValueError for a malformed secret."""
    found = [
        *(
            _same(value, mailement_signature(secret, request.body))
            for value in request.values("x-mailement-signature")
        ),
        *(
            _same(value, maily_signature(secret, request.body))
            for value in request.values("x-maily-signature")
        ),
        *(_standard(request, value, secret) for value in request.values("webhook-signature")),
    ]
    if not found:
        return Verdict.MISSING
    return Verdict.GOOD if all(found) else Verdict.BAD


def _standard(request: Received, signatures: str, secret: str) -> bool:
    """One of the list has to fit: the others are made with other secrets."""
    ids, timestamps = request.values("webhook-id"), request.values("webhook-timestamp")
    if len(ids) != 1 or len(timestamps) != 1 or not _TIMESTAMP.fullmatch(timestamps[0]):
        return False
    expected = standard_signature(secret, ids[0], int(timestamps[0]), request.body)
    return any(_same(signature, expected) for signature in signatures.split(" "))


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
