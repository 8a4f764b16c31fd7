from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from mailement_common.signing import (
    Signer,
    mailement_signature,
    maily_signature,
    standard_signature,
)

BODY = b'{"event":"subscriber.confirmed"}'


def _printed(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def test_the_signature_of_rfc_4231_s_second_case() -> None:
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert mailement_signature("Jefe", b"what do ya want for nothing?") == f"sha256={expected}"


def test_openssl_makes_the_same_signature(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(BODY)
    made = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", "whsec_abc", "-r", body],
        check=True,
        capture_output=True,
        text=True,
    )

    assert mailement_signature("whsec_abc", BODY) == "sha256=" + made.stdout.split()[0]


@pytest.mark.parametrize("body", [b"", b"\x00\xff", '{"name":"Zoë"}'.encode()])
def test_the_raw_bytes_are_what_is_signed(body: bytes) -> None:
    expected = hmac.new(b"geheim", body, hashlib.sha256).hexdigest()

    assert mailement_signature("geheim", body) == f"sha256={expected}"


def test_the_reference_library_accepts_the_standard_signature() -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    at = int(datetime.now(UTC).timestamp())  # noqa: TID251 - the library compares with the real time
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": standard_signature(secret, "msg_1", at, BODY),
    }

    assert Webhook(secret).verify(BODY, headers) == {"event": "subscriber.confirmed"}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers)


def test_a_secret_without_the_prefix_is_taken_as_its_bytes() -> None:
    expected = base64.b64encode(hmac.new(b"geheim", b"m.1." + BODY, hashlib.sha256).digest()).decode()

    assert standard_signature("geheim", "m", 1, BODY) == f"v1,{expected}"


def test_maily_s_signature_is_the_same_digits_alone() -> None:
    assert f"sha256={maily_signature('geheim', BODY)}" == mailement_signature("geheim", BODY)


@given(
    secret=st.one_of(st.text().filter(lambda text: not text.startswith("whsec_")), st.binary().map(_printed)),
    body=st.binary(),
    at=st.integers(0, 2**40),
)
def test_a_signer_used_twice_signs_as_one_made_for_each(secret: str, body: bytes, at: int) -> None:
    signer = Signer(secret)

    for _ in range(2):
        assert signer.hexadecimal(body) == maily_signature(secret, body)
        assert signer.standard("m", at, body) == standard_signature(secret, "m", at, body)


def test_a_secret_that_cannot_be_decoded_is_refused_at_once() -> None:
    with pytest.raises(ValueError):
        Signer("whsec_abc")


def test_a_signer_does_not_show_its_secret() -> None:
    assert "geheim" not in repr(Signer("geheim"))
