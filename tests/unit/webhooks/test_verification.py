from __future__ import annotations

import base64
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_common.ids import EventId
from mailement_common.signing import Signer
from mailement_webhook_dispatcher.request import Outgoing, SigningSecrets, request_for
from mailement_webhooks.endpoints import Profile
from mailement_webhooks.ids import Sequence
from mailement_webhooks.rules.usual_mistakes import MISTAKES, Mistake, Scheme
from mailement_webhooks.rules.verification import (
    REMARKS,
    Message,
    Remark,
    Report,
    Secret,
    Verdict,
    verify,
)

_AT = datetime(2026, 5, 19, 17, 42, tzinfo=UTC)
_SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
_OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
_BODY = '{"event":"subscriber.confirmed","data":{"name":"Zoë","note":"one\\ntwo"}}'.encode()


def _message(
    profile: Profile = Profile.MAILEMENT, *, body: bytes = _BODY, staged: str | None = None
) -> Message:
    """As the dispatcher sends it."""
    outgoing = Outgoing(
        event_id=EventId(UUID(int=7)),
        profile=profile,
        type="subscriber.confirmed",
        body=body,
        sequence=Sequence(3),
        traceparent=None,
        url="https://receiver.example/",
    )
    sent = request_for(outgoing, secrets=SigningSecrets(active=_SECRET, staged=staged), at=_AT)
    return Message(headers={name.lower(): value for name, value in sent.headers.items()}, body=sent.body)


def _with(message: Message, **headers: str) -> Message:
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(message, headers={**message.headers, **changed})


def _without(message: Message, *names: str) -> Message:
    return replace(message, headers={k: v for k, v in message.headers.items() if k not in names})


def _verify(message: Message, *secrets: str, later: timedelta = timedelta(seconds=12)) -> Report:
    chosen = [Secret(label=f"number {number}", text=text) for number, text in enumerate(secrets or [_SECRET])]
    return verify(message, chosen, at=_AT + later)


def _verdicts(report: Report) -> dict[Scheme, list[Verdict]]:
    return {one.scheme: [trial.verdict for trial in one.trials] for one in report.signatures}


def _mistakes(report: Report, scheme: Scheme) -> tuple[Mistake, ...]:
    (found,) = (trial.mistakes for one in report.signatures if one.scheme is scheme for trial in one.trials)
    return found


@pytest.mark.parametrize(
    ("profile", "scheme"), [(Profile.MAILEMENT, Scheme.MAILEMENT), (Profile.MAILY, Scheme.MAILY)]
)
def test_both_signatures_of_what_the_dispatcher_sends_are_genuine(profile: Profile, scheme: Scheme) -> None:
    report = _verify(_message(profile))

    assert report.genuine
    assert _verdicts(report) == {Scheme.STANDARD: [Verdict.GENUINE], scheme: [Verdict.GENUINE]}
    assert report.remarks == ()
    assert report.signing_time is not None
    assert report.signing_time.age == timedelta(seconds=12)


@given(body=st.binary(max_size=200), at=st.integers(0, 4_000_000_000), id=st.text("abc-09", min_size=1))
def test_whatever_our_signer_signs_is_genuine(body: bytes, at: int, id: str) -> None:  # noqa: A002
    signature = Signer(_SECRET).standard(id, at, body)
    headers = {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": signature}

    report = verify(
        Message(headers=headers, body=body),
        [Secret(label="", text=_SECRET)],
        at=datetime.fromtimestamp(at, UTC),
    )

    assert report.genuine


_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature", "x-mailement-signature", "content-length")
_VALUES = st.text(st.characters(max_codepoint=255), max_size=60)


@given(
    body=st.binary(max_size=60),
    headers=st.dictionaries(st.sampled_from(_HEADERS), _VALUES),
    secret=st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_nonsense_is_not_genuine_and_breaks_nothing(
    body: bytes, headers: dict[str, str], secret: str
) -> None:
    assert not verify(Message(headers=headers, body=body), [Secret(label="", text=secret)], at=_AT).genuine


def test_one_of_the_listed_signatures_is_enough() -> None:
    report = _verify(_message(staged=_OTHER), _OTHER)

    assert report.genuine
    assert [trial.verdict for one in report.signatures for trial in one.trials] == [
        Verdict.WRONG,
        Verdict.GENUINE,
        Verdict.WRONG,
    ]


def test_each_secret_has_its_verdict() -> None:
    report = _verify(_message(), _OTHER, _SECRET)

    assert _verdicts(report)[Scheme.MAILEMENT] == [Verdict.WRONG, Verdict.GENUINE]


@pytest.mark.parametrize(
    ("later", "verdict"),
    [
        (timedelta(minutes=5), Verdict.GENUINE),
        (timedelta(minutes=5, seconds=1), Verdict.UNTIMELY),
        (timedelta(minutes=-5), Verdict.GENUINE),
        (timedelta(minutes=-5, seconds=-1), Verdict.UNTIMELY),
    ],
)
def test_the_standard_signature_holds_for_five_minutes_either_way(later: timedelta, verdict: Verdict) -> None:
    message = _without(_message(), "x-mailement-signature")

    report = _verify(message, later=later)

    assert _verdicts(report) == {Scheme.STANDARD: [verdict]}
    assert report.genuine == (verdict is Verdict.GENUINE)


def test_the_signature_over_the_body_knows_no_time() -> None:
    report = _verify(_message(), later=timedelta(days=400))

    assert report.genuine
    assert _verdicts(report)[Scheme.STANDARD] == [Verdict.UNTIMELY]


@pytest.mark.parametrize(
    ("received", "mistakes"),
    [
        (_BODY + b"\n", (Mistake.LINE_BREAK_ADDED,)),
        (_BODY + b"\r\n", (Mistake.LINE_BREAK_ADDED,)),
        (json.dumps(json.loads(_BODY), indent=2).encode(), (Mistake.REWRITTEN,)),
        (json.dumps(json.loads(_BODY)).encode(), (Mistake.REWRITTEN,)),
        (_BODY.decode("latin-1").encode(), (Mistake.ENCODED_TWICE,)),
        (b"\xef\xbb\xbf" + _BODY, (Mistake.BYTE_ORDER_MARK,)),
    ],
)
def test_what_happened_to_the_body_is_found(received: bytes, mistakes: tuple[Mistake, ...]) -> None:
    report = _verify(replace(_message(), body=received))

    assert not report.genuine
    assert _mistakes(report, Scheme.STANDARD) == _mistakes(report, Scheme.MAILEMENT) == mistakes


@pytest.mark.parametrize(
    ("sent", "received", "mistake"),
    [
        (b"{}\n", b"{}", Mistake.LINE_BREAK_LOST),
        (b"{\r\n}", b"{\n}", Mistake.CRLF),
        (b"{\n}", b"{\r\n}", Mistake.CRLF),
    ],
)
def test_what_happened_to_line_breaks_is_found(sent: bytes, received: bytes, mistake: Mistake) -> None:
    report = _verify(replace(_message(body=sent), body=received))

    assert _mistakes(report, Scheme.MAILEMENT) == (mistake,)


@pytest.mark.parametrize(
    ("secret", "mistakes"),
    [
        (_SECRET.removeprefix("whsec_"), (Mistake.SECRET_PREFIX_LOST,)),
        (f'"{_SECRET}"\n', (Mistake.SECRET_QUOTED,)),
    ],
)
def test_what_happened_to_the_secret_is_found(secret: str, mistakes: tuple[Mistake, ...]) -> None:
    report = _verify(_message(), secret)

    assert _mistakes(report, Scheme.STANDARD) == _mistakes(report, Scheme.MAILEMENT) == mistakes


def _digest(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")


_KEY = b"k" * 32
_START = f"{UUID(int=7)}.{int(_AT.timestamp())}.".encode()


@pytest.mark.parametrize(
    ("value", "mistakes"),
    [
        (_digest(_SECRET.encode(), _START + _BODY), (Mistake.SECRET_NOT_DECODED,)),
        (_digest(_SECRET[6:].encode(), _START + _BODY), (Mistake.SECRET_NOT_DECODED,)),
        (_digest(_KEY, _BODY), (Mistake.BODY_ALONE,)),
        (_digest(_KEY, _START.partition(b".")[2] + _BODY), (Mistake.ID_LEFT_OUT,)),
        (_digest(_SECRET.encode(), _BODY), (Mistake.OTHER_HEADER,)),
    ],
)
def test_what_the_maker_of_a_standard_signature_got_wrong_is_found(
    value: bytes, mistakes: tuple[Mistake, ...]
) -> None:
    made = _with(_message(), webhook_signature="v1," + base64.b64encode(value).decode())

    assert _mistakes(_verify(made), Scheme.STANDARD) == mistakes


@pytest.mark.parametrize(
    ("value", "mistakes"),
    [
        (_digest(_KEY, _BODY).hex(), (Mistake.SECRET_DECODED,)),
        (_digest(_SECRET[6:].encode(), _BODY).hex(), (Mistake.SECRET_WITHOUT_PREFIX,)),
        (_digest(_SECRET.encode(), _START + _BODY).hex(), (Mistake.MORE_THAN_BODY,)),
        (_digest(_KEY, _START + _BODY).hex(), (Mistake.OTHER_HEADER,)),
        (_digest(_SECRET.encode(), _BODY).hex().upper(), (Mistake.SPELLING,)),
        (base64.b64encode(_digest(_SECRET.encode(), _BODY)).decode(), (Mistake.SPELLING,)),
    ],
)
def test_what_the_maker_of_a_signature_over_the_body_got_wrong_is_found(
    value: str, mistakes: tuple[Mistake, ...]
) -> None:
    made = _with(_message(), x_mailement_signature=f"sha256={value}")

    assert _mistakes(_verify(made), Scheme.MAILEMENT) == mistakes


def test_two_mistakes_at_once_are_found() -> None:
    report = _verify(replace(_message(), body=_BODY + b"\n"), _SECRET.removeprefix("whsec_"))

    assert set(_mistakes(report, Scheme.STANDARD)) == {Mistake.SECRET_PREFIX_LOST, Mistake.LINE_BREAK_ADDED}


def test_another_body_is_no_mistake_but_wrong() -> None:
    report = _verify(replace(_message(), body=b'{"event":"subscriber.unsubscribed"}'))

    assert not report.genuine
    assert _verdicts(report) == {Scheme.STANDARD: [Verdict.WRONG], Scheme.MAILEMENT: [Verdict.WRONG]}


def test_a_secret_whose_base64_is_damaged_is_told() -> None:
    report = _verify(_message(), "whsec_x")

    assert _verdicts(report)[Scheme.STANDARD] == [Verdict.SECRET_UNREADABLE]


@pytest.mark.parametrize(
    ("message", "remark"),
    [
        (_without(_message(), "webhook-id"), Remark.NO_ID),
        (_without(_message(), "webhook-timestamp"), Remark.NO_TIMESTAMP),
        (_with(_message(), webhook_timestamp="yesterday"), Remark.TIMESTAMP_UNREADABLE),
        (_with(_message(), webhook_signature="v1a,AAAA"), Remark.OTHER_VERSION),
        (_with(_message(), content_length="12"), Remark.LENGTH_DIFFERS),
        (replace(_message(), body=b""), Remark.BODY_EMPTY),
        (Message(headers={}, body=_BODY), Remark.NO_SIGNATURE),
    ],
)
def test_what_is_odd_about_a_message_is_told(message: Message, remark: Remark) -> None:
    assert _verify(message).remarks == (remark,)


def test_what_was_signed_is_shown_short_and_on_one_line() -> None:
    body = b'{"note":"\x1b[31m"}' + b"x" * 1000

    (standard, _) = _verify(_message(body=body)).signatures

    assert standard.signed is not None
    assert standard.signed.length == len(_START) + len(body)
    assert standard.signed.text.startswith(_START.decode())
    assert standard.signed.text.isprintable()
    assert len(standard.signed.text) < 150


def test_of_a_secret_the_last_four_characters_are_shown() -> None:
    report = _verify(_message())

    assert {trial.secret_last for one in report.signatures for trial in one.trials} == {_SECRET[-4:]}
    assert _SECRET not in repr(report)
    assert _SECRET not in repr(Secret(label="x", text=_SECRET))
    assert Secret(label="x", text="short").last == ""


def test_every_mistake_and_remark_has_its_words() -> None:
    assert set(MISTAKES) == set(Mistake)
    assert set(REMARKS) == set(Remark)
