from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailement_cli.commands.webhook_verify import verify_command
from mailement_cli.session import Fault
from mailement_cli.verify import in_words, read_headers, read_message
from mailement_common.signing import Signer

_AT = datetime(2026, 5, 19, 17, 42, tzinfo=UTC)
_SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
_OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
_BODY = b'{"event":"subscriber.confirmed"}'


class _Later:
    def __init__(self, later: timedelta) -> None:
        self._later = later

    def now(self) -> datetime:
        return _AT + self._later


async def _stored(*, brand: str | None, endpoint: int | None) -> Mapping[str, str]:
    return {"active, endpoint 7": _SECRET, "staged, endpoint 7": _OTHER} if endpoint == 7 else {}


def _headers(*, legacy: bool = True) -> str:
    at, signer = int(_AT.timestamp()), Signer(_SECRET)
    signatures = [f"webhook-signature: {signer.standard('m', at, _BODY)}"]
    if legacy:
        signatures.append(f"X-Mailement-Signature: sha256={signer.hexadecimal(_BODY)}")
    lines = ["POST /hook HTTP/1.1", "Host: x", "webhook-id: m", f"webhook-timestamp: {at}", *signatures]
    return "\r\n".join(lines)


def _request(*, legacy: bool = True) -> bytes:
    return f"{_headers(legacy=legacy)}\r\n\r\n".encode() + _BODY


def _verify(*words: str, given: bytes = b"", later: timedelta = timedelta(seconds=12)) -> Result:
    return CliRunner().invoke(verify_command(_stored, _Later(later)), list(words), input=given)


def test_a_genuine_request_ends_with_zero() -> None:
    answer = _verify("--secret", _SECRET, given=_request())

    assert answer.exit_code == 0
    assert "12 s before this moment" in answer.output
    assert f"m.{int(_AT.timestamp())}.{_BODY.decode()}" in answer.output
    assert answer.output.splitlines()[-1] == "genuine"


def test_a_request_of_somebody_else_ends_with_one() -> None:
    answer = _verify("--secret", _OTHER, given=_request())

    assert answer.exit_code == 1
    assert answer.output.splitlines()[-1] == "not genuine"


def test_secrets_are_told_by_their_ends_and_never_shown() -> None:
    answers = [
        _verify("--secret", _SECRET, "--secret", _OTHER, *form, given=_request()).output
        for form in ([], ["--json"])
    ]

    assert all(_SECRET[-4:] in answer and _OTHER[-4:] in answer for answer in answers)
    assert not any(_SECRET in answer or _OTHER in answer for answer in answers)


def test_an_old_request_is_told_to_be_old_unless_another_moment_is_asked_for() -> None:
    request, later = _request(legacy=False), timedelta(minutes=6)

    now = _verify("--secret", _SECRET, given=request, later=later)
    then = _verify("--secret", _SECRET, "--at", "2026-05-19T17:43:00", given=request, later=later)

    assert now.exit_code == 1
    assert "6 min before this moment: libraries refuse more than 5 min" in now.output
    assert then.exit_code == 0


def test_the_mistake_is_named() -> None:
    answer = _verify("--secret", _SECRET, given=_request() + b"\n")

    assert answer.exit_code == 1
    assert "line break at its end that was not sent" in answer.output


def test_headers_and_body_may_be_in_two_files(tmp_path: Path) -> None:
    headers, body = tmp_path / "headers", tmp_path / "body"
    headers.write_text(_headers(), encoding="utf-8")
    body.write_bytes(_BODY)

    assert _verify("--secret", _SECRET, "--headers", str(headers), "--body", str(body)).exit_code == 0
    assert _verify("--secret", _SECRET, "--headers", str(headers)).exit_code == 2


def test_the_request_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "request").write_bytes(_request())

    assert _verify("--secret", _SECRET, str(tmp_path / "request")).exit_code == 0


def test_the_secrets_may_be_those_of_an_endpoint() -> None:
    answer = _verify("--endpoint", "7", given=_request())

    assert answer.exit_code == 0
    assert "active, endpoint 7" in answer.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--endpoint", "8"], "no secret is stored there"),
        ([], "no secret: give --secret, --brand or --endpoint"),
    ],
)
def test_without_a_secret_nothing_is_judged(words: list[str], told: str) -> None:
    answer = _verify(*words, given=_request())

    assert answer.exit_code == 1
    assert told in answer.output


def test_json_has_the_whole_report() -> None:
    report = json.loads(_verify("--secret", _SECRET, "--json", given=_request()).output)

    assert report["genuine"] is True
    assert [one["scheme"] for one in report["signatures"]] == ["webhook-signature", "X-Mailement-Signature"]
    assert report["signing_time"]["age"] == 12


def test_the_body_is_kept_to_its_last_byte() -> None:
    message = read_message(b"A: b\n\n one\r\n\r\ntwo\n")

    assert message.headers == {"a": "b"}
    assert message.body == b" one\r\n\r\ntwo\n"


def test_a_header_that_comes_twice_is_one_list() -> None:
    assert read_headers(b"webhook-signature: v1,a\r\nWebhook-Signature: v1,b") == {
        "webhook-signature": "v1,a v1,b"
    }


@pytest.mark.parametrize("raw", [b"", b"A: b", b"A: b\r\nnonsense\r\n\r\n{}"])
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    with pytest.raises(Fault):
        read_message(raw)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (379, "6 min"), (7200, "2 h"), (300_000, "3 days")]
)
def test_spans_are_said_in_their_largest_unit(seconds: int, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
