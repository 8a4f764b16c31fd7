"""Whether a request's signatures fit a secret."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from mailement_cli.torture.received import Received
from mailement_webhooks.rules import verification
from mailement_webhooks.rules.verification import Message, Secret, verify

# When it was signed is for `webhook verify` to say: what comes here may have been kept for a long time.
_FITS: Final = frozenset({verification.Verdict.GENUINE, verification.Verdict.UNTIMELY})


class Verdict(StrEnum):
    GOOD = "good"
    BAD = "bad"
    MISSING = "missing"


def verdict(request: Received, secret: str, *, at: datetime) -> Verdict:
    """Good if there are signatures, and all headers that carry them fit; of a list, one has to. `at`: now."""
    message = Message(headers={name.lower(): value for name, value in request.headers}, body=request.body)
    fitting: dict[str, bool] = {}
    for report in verify(message, [Secret(label="", text=secret)], at=at).signatures:
        fits = any(trial.verdict in _FITS for trial in report.trials)
        fitting[report.scheme] = fitting.get(report.scheme, False) or fits
    if not fitting:
        return Verdict.MISSING
    return Verdict.GOOD if all(fitting.values()) else Verdict.BAD
