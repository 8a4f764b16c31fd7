"""`mailement webhook verify` without its options: what was pasted becomes a message, a report becomes lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final, assert_never

from mailement_cli.session import Fault
from mailement_webhooks.rules.usual_mistakes import MISTAKES
from mailement_webhooks.rules.verification import (
    REMARKS,
    TOLERANCE,
    Message,
    Report,
    SignatureReport,
    SigningTime,
    Trial,
    Verdict,
    printable,
)

_UNITS: Final = (
    (timedelta(days=1), "days"),
    (timedelta(hours=1), "h"),
    (timedelta(minutes=1), "min"),
)


def read_message(raw: bytes) -> Message:
    """A raw HTTP request: headers, an empty line, the body to its last byte. Raises Fault."""
    ends = [(at, end) for end in (b"\r\n\r\n", b"\n\n") if (at := raw.find(end)) >= 0]
    if not ends:
        raise Fault("there is no empty line between headers and body")
    at, end = min(ends)
    return Message(headers=read_headers(raw[:at]), body=raw[at + len(end) :])


def read_headers(raw: bytes) -> dict[str, str]:
    """Lines of `Name: value`, maybe after a request line; names in lower case. Raises Fault."""
    headers: dict[str, str] = {}
    for number, line in enumerate(raw.decode("latin-1").split("\n"), 1):
        name, colon, value = line.partition(":")
        if not line.strip() or (number == 1 and (not colon or " " in name.strip())):
            continue
        if not colon:
            raise Fault(f"line {number} is no header: {printable(line.encode())[:60]}")
        known = headers.get(name.strip().lower())
        headers[name.strip().lower()] = value.strip() if known is None else f"{known} {value.strip()}"
    return headers


def lines(report: Report) -> Iterator[str]:
    """What people read of a report, the verdict last."""
    if report.signing_time is not None:
        yield f"signed  {report.signing_time.signed_at:%Y-%m-%d %H:%M:%S} UTC, {_clock(report.signing_time)}"
        yield ""
    for signature in report.signatures:
        yield from _signature(signature)
        yield ""
    for remark in report.remarks:
        yield f"note: {REMARKS[remark]}"
    yield "genuine" if report.genuine else "not genuine"


def _signature(signature: SignatureReport) -> Iterator[str]:
    yield f"{signature.scheme}: {printable(signature.value.encode())}"
    if signature.signed is not None:
        yield f"  signs   {signature.signed.text}"
        yield f"          {signature.signed.length} bytes, SHA-256 {signature.signed.sha256}"
    for trial in signature.trials:
        ending = f" (…{printable(trial.secret_last.encode())})" if trial.secret_last else ""
        yield f"  {trial.secret}{ending}: {_verdict(trial)}"
        for mistake in trial.mistakes:
            yield f"    - {MISTAKES[mistake]}"


def _verdict(trial: Trial) -> str:
    match trial.verdict:
        case Verdict.GENUINE:
            return "genuine"
        case Verdict.UNTIMELY:
            return "fits, but not at this moment"
        case Verdict.MISTAKEN:
            return "does not fit as it is; it does without " + (
                "this mistake:" if len(trial.mistakes) == 1 else "these mistakes:"
            )
        case Verdict.WRONG:
            return "does not fit: another secret, or another body"
        case Verdict.SECRET_UNREADABLE:
            return "not tried: behind whsec_ there is no base64"
        case _:
            assert_never(trial.verdict)


def _clock(time: SigningTime) -> str:
    if abs(time.age) < timedelta(seconds=1):
        return "this moment"
    direction = "before" if time.age > timedelta() else "after"
    said = f"{in_words(abs(time.age))} {direction} this moment"
    limit = f"{TOLERANCE // timedelta(minutes=1)} min"
    return said if time.timely else f"{said}: libraries refuse more than {limit}"


def in_words(span: timedelta) -> str:
    """The largest unit of which there are at least two, rounded down: `12 s`, `119 s`, `6 min`, `3 days`."""
    for unit, name in _UNITS:
        if span >= 2 * unit:
            return f"{span // unit} {name}"
    return f"{span // timedelta(seconds=1)} s"
