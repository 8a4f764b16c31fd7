"""The torture receiver as an operator meets it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from mailement_cli.commands.torture_receiver import torture_receiver
from mailement_cli.torture.modes import modes
from mailement_cli.torture.received import NotARequest, Received, read_request
from mailement_cli.torture.verdict import Verdict, verdict
from mailement_common.clock import SystemClock
from mailement_common.signing import mailement_signature, maily_signature, standard_signature

_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_OTHER = "whsec_b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXI="
_NOW = datetime(2026, 5, 19, tzinfo=UTC)
_BODY = b'{"event":"subscriber.confirmed"}'


def _received(**signatures: str) -> Received:
    headers = {"webhook-id": "7", "webhook-timestamp": "1760000000"} | {
        name.replace("_", "-"): value for name, value in signatures.items()
    }
    return Received(method="POST", path="/ok", headers=tuple(headers.items()), body=_BODY)


def test_the_list_has_a_sentence_for_each_mode() -> None:
    result = CliRunner().invoke(torture_receiver, ["--list"])

    assert result.exit_code == 0
    for path, mode in modes(SystemClock()).items():
        assert f"{path} " in result.output
        assert mode.sentence in result.output


def test_a_secret_that_is_none_is_refused() -> None:
    result = CliRunner().invoke(torture_receiver, ["--secret", "whsec_a"])

    assert result.exit_code == 2
    assert "no base64" in result.output


def test_all_signatures_that_fit_are_good() -> None:
    standard = standard_signature(_SECRET, "7", 1760000000, _BODY)
    old = standard_signature(_OTHER, "7", 1760000000, _BODY)
    request = _received(
        x_mailement_signature=mailement_signature(_SECRET, _BODY),
        x_maily_signature=maily_signature(_SECRET, _BODY),
        webhook_signature=f"{old} {standard}",
    )

    assert verdict(request, _SECRET, at=_NOW) is Verdict.GOOD


def test_one_signature_that_does_not_fit_is_bad() -> None:
    request = _received(
        x_mailement_signature=mailement_signature(_OTHER, _BODY),
        webhook_signature=standard_signature(_SECRET, "7", 1760000000, _BODY),
    )

    assert verdict(request, _SECRET, at=_NOW) is Verdict.BAD


def test_no_signature_is_missing() -> None:
    assert verdict(_received(), _SECRET, at=_NOW) is Verdict.MISSING


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "often", ""])
def test_what_is_no_number_to_wait_for_is_not_waited_for(number: str) -> None:
    request = Received(method="POST", path=f"/slow?seconds={number}", headers=(), body=b"")

    assert request.number("seconds", 6) == 6


def test_a_timestamp_of_any_length_is_judged() -> None:
    request = Received(
        method="POST",
        path="/ok",
        headers=(("webhook-id", "7"), ("webhook-timestamp", "1" * 5000), ("webhook-signature", "v1,a")),
        body=_BODY,
    )

    assert verdict(request, _SECRET, at=_NOW) is Verdict.BAD


async def test_a_length_of_any_length_is_refused() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"POST / HTTP/1.1\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n")

    with pytest.raises(NotARequest):
        await read_request(reader)
