"""Whether a webhook is genuine, and if not, what was probably done wrong on the way.

Three headers may carry signatures. `webhook-signature` signs `id.timestamp.body` and is written in base64 behind `v1,`;
X-Mailement-Signature and X-Maily-Signature sign the body alone and are written in hex. One that fits is enough.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

from mailement_common.signing import standard_key
from mailement_webhooks.rules.usual_mistakes import (
    Mistake,
    Scheme,
    Signature,
    find_mistakes,
    legacy_key,
    spelt,
    standard_prefix,
)

TOLERANCE: Final = timedelta(minutes=5)
"""What the libraries of Standard Webhooks allow a clock to be off, either way."""

_SHOWN_BODY: Final = 60
_LAST: Final = 4
_LATEST: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


class Verdict(StrEnum):
    GENUINE = "genuine"
    UNTIMELY = "untimely"
    MISTAKEN = "mistaken"
    WRONG = "wrong"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105  a verdict


class Remark(StrEnum):
    """What is odd about the message itself, whatever the secret."""

    NO_SIGNATURE = "no_signature"
    NO_ID = "no_id"
    NO_TIMESTAMP = "no_timestamp"
    TIMESTAMP_UNREADABLE = "timestamp_unreadable"
    BODY_EMPTY = "body_empty"
    LENGTH_DIFFERS = "length_differs"
    OTHER_VERSION = "other_version"


REMARKS: Final[Mapping[Remark, str]] = {
    Remark.NO_SIGNATURE: "no signature: there is neither webhook-signature nor X-Mailement-Signature nor X-Maily-Signature",
    Remark.NO_ID: "webhook-id is missing, and webhook-signature signs it",
    Remark.NO_TIMESTAMP: "webhook-timestamp is missing, and webhook-signature signs it",
    Remark.TIMESTAMP_UNREADABLE: "webhook-timestamp is not a number of seconds since 1970",
    Remark.BODY_EMPTY: "the body is empty: has something read it before, such as a framework's JSON parser?",
    Remark.LENGTH_DIFFERS: "Content-Length announces a body of another length: it is not the body that was sent",
    Remark.OTHER_VERSION: "a signature is not of version v1, so it is passed over",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What arrived. `headers`: names in lower case, values as they came."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """`label` says whose it is."""

    label: str
    text: str = field(repr=False)

    @property
    def last(self) -> str:
        """Its last characters, by which people tell secrets apart; none of a short one."""
        return self.text.strip()[-_LAST:] if len(self.text.strip()) > 4 * _LAST else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One secret tried on one signature. `mistakes`: what has to be undone for them to fit; empty unless MISTAKEN."""

    secret: str
    secret_last: str
    verdict: Verdict
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What a signature has to be made over. `text`: for people, the body cut; `length` in bytes; `sha256` in hex."""

    text: str
    length: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureReport:
    """One signature of the message. `signed` None: a header that it signs is missing."""

    scheme: Scheme
    value: str
    signed: Signed | None
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningTime:
    """`age`: how long before the moment of the check it was signed; negative: after it. `timely`: libraries take it."""

    signed_at: datetime
    age: timedelta
    timely: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`genuine`: whoever checks one of the headers as its document says would take this message."""

    genuine: bool
    signatures: tuple[SignatureReport, ...]
    signing_time: SigningTime | None
    remarks: tuple[Remark, ...]


def verify(message: Message, secrets: Sequence[Secret], *, at: datetime) -> Report:
    """Tries each secret on each signature. `at`: the moment of the check, aware."""
    time = _signing_time(message, at)
    timely = time is not None and time.timely
    given = list(_signatures(message))
    reports = tuple(_report(signature, message, secrets, timely=timely) for signature in given)
    return Report(
        genuine=any(trial.verdict is Verdict.GENUINE for report in reports for trial in report.trials),
        signatures=reports,
        signing_time=time,
        remarks=tuple(_remarks(message, given, time)),
    )


def _signatures(message: Message) -> Iterator[Signature]:
    for scheme in Scheme:
        value = message.headers.get(scheme.lower(), "").strip()
        # A list during the rotation of a secret; the other two have room for one.
        for one in value.split() if scheme is Scheme.STANDARD else filter(None, [value]):
            yield Signature(scheme=scheme, value=one)


def _report(
    signature: Signature, message: Message, secrets: Sequence[Secret], *, timely: bool
) -> SignatureReport:
    prefix = standard_prefix(message.headers) if signature.scheme is Scheme.STANDARD else b""
    return SignatureReport(
        scheme=signature.scheme,
        value=signature.value,
        signed=None if prefix is None else _signed(prefix, message.body),
        trials=tuple(_try(signature, message, secret, prefix, timely=timely) for secret in secrets),
    )


def _try(
    signature: Signature, message: Message, secret: Secret, prefix: bytes | None, *, timely: bool
) -> Trial:
    verdict, mistakes = Verdict.WRONG, tuple[Mistake, ...]()
    if _fits(signature, secret, prefix, message.body):
        untimely = signature.scheme is Scheme.STANDARD and not timely
        verdict = Verdict.UNTIMELY if untimely else Verdict.GENUINE
    elif mistakes := find_mistakes(signature, secret.text, message.headers, message.body):
        verdict = Verdict.MISTAKEN
    elif signature.scheme is Scheme.STANDARD and not _readable(secret):
        verdict = Verdict.SECRET_UNREADABLE
    return Trial(secret=secret.label, secret_last=secret.last, verdict=verdict, mistakes=mistakes)


def _fits(signature: Signature, secret: Secret, prefix: bytes | None, body: bytes) -> bool:
    if prefix is None or (signature.scheme is Scheme.STANDARD and not _readable(secret)):
        return False
    key = standard_key(secret.text) if signature.scheme is Scheme.STANDARD else legacy_key(secret.text)
    digest = hmac.digest(key, prefix + body, "sha256")
    return hmac.compare_digest(spelt(signature.scheme, digest).encode(), signature.value.encode())


def _readable(secret: Secret) -> bool:
    try:
        standard_key(secret.text)
    except ValueError:
        return False
    return True


def _signed(prefix: bytes, body: bytes) -> Signed:
    content = prefix + body
    return Signed(
        text=printable(content[: len(prefix) + _SHOWN_BODY]) + ("…" if len(body) > _SHOWN_BODY else ""),
        length=len(content),
        sha256=sha256(content).hexdigest(),
    )


def printable(content: bytes) -> str:
    """In one line that a terminal can show, what is not printable as escapes."""
    text = content.decode(errors="backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _signing_time(message: Message, at: datetime) -> SigningTime | None:
    stated = _seconds(message)
    if stated is None:
        return None
    signed_at = datetime.fromtimestamp(stated, UTC)
    age = at - signed_at
    return SigningTime(signed_at=signed_at, age=age, timely=abs(age) <= TOLERANCE)


def _seconds(message: Message) -> int | None:
    stated = message.headers.get("webhook-timestamp", "")
    if not (stated.isascii() and stated.isdecimal() and len(stated) <= len(str(_LATEST))):
        return None
    return min(int(stated), _LATEST)


def _remarks(message: Message, given: Sequence[Signature], time: SigningTime | None) -> Iterator[Remark]:
    if not given:
        yield Remark.NO_SIGNATURE
    standard = [signature for signature in given if signature.scheme is Scheme.STANDARD]
    if standard and not message.headers.get("webhook-id"):
        yield Remark.NO_ID
    if standard and not message.headers.get("webhook-timestamp"):
        yield Remark.NO_TIMESTAMP
    elif standard and time is None:
        yield Remark.TIMESTAMP_UNREADABLE
    if any("," in signature.value and not signature.value.startswith("v1,") for signature in standard):
        yield Remark.OTHER_VERSION
    if not message.body:
        yield Remark.BODY_EMPTY
    elif message.headers.get("content-length", str(len(message.body))).strip() != str(len(message.body)):
        yield Remark.LENGTH_DIFFERS
