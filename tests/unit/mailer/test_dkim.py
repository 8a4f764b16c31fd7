from __future__ import annotations

import re
from collections.abc import Callable

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from mailement_mailer.mailbox import Mailbox
from mailement_mailer.providers import mime
from mailement_mailer.providers.dkim import (
    BadDkimKey,
    DkimAlgorithm,
    DkimKey,
    from_pem,
    new_key,
    record_name,
    record_value,
    signature,
    to_pem,
)
from mailement_mailer.text import many_lines, one_line
from tests.support.mails import LINK, a_mail

RSA = new_key(domain="acme.example", selector="m1")
ED25519 = new_key(domain="acme.example", selector="m2", algorithm=DkimAlgorithm.ED25519_SHA256)
KEYS = pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])

HEADERS = {
    "Date": "Sun, 01 Mar 2026 12:00:00 +0000",
    "Reply-To": "Ada <ada@acme.example>",
    "List-Id": '"Acme" <acme.acme.example>',
    "List-Unsubscribe": f"<{LINK}>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "Feedback-ID": "7:acme:drip:mailement",
    "X-Mailement-Message": "7",
}
CONTENT = mime.build(a_mail(headers=HEADERS, subject="Grüße", text="two  spaces \n\ttab\n\n\n"))


def signed(content: bytes, key: DkimKey) -> bytes:
    return signature(content, key) + content


def verifies(content: bytes) -> bool:
    records = {f"{record_name(key)}.".encode(): record_value(key).encode() for key in (RSA, ED25519)}

    def look_up(name: bytes, timeout: int = 5) -> bytes | None:
        return records.get(name)

    verify: Callable[..., bool] = dkimpy.verify
    return verify(content, dnsfunc=look_up)


@KEYS
def test_a_signed_mail_verifies(key: DkimKey) -> None:
    assert verifies(signed(CONTENT, key))


@KEYS
@given(
    subject=st.text().map(one_line),
    name=st.text().map(one_line),
    text=st.text(alphabet=st.sampled_from(" \t\r\nab.=ü🦊")).map(many_lines),
    html=st.none() | st.text().map(many_lines),
)
def test_whatever_a_mail_says_its_signature_verifies(
    key: DkimKey, subject: str, name: str, text: str, html: str | None
) -> None:
    mail = a_mail(subject=subject, sender=Mailbox(name=name, address="a@acme.example"), text=text, html=html)
    assert verifies(signed(mime.build(mail), key))


@given(
    value=st.text(alphabet=" \tab:;=", max_size=20),
    body=st.text(alphabet=" \tab\n", max_size=60),
)
def test_blanks_of_any_kind_in_headers_and_body_verify(value: str, body: str) -> None:
    content = f"From: a@acme.example\r\nSubject: x\r\n {value}y\r\n\r\n{body}\n".replace("\r", "").replace(
        "\n", "\r\n"
    )
    assert verifies(signed(content.encode(), ED25519))


@KEYS
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"From: Acme News", b"From: Acme Nevvs"),
        (b"To: ada@example.org", b"To: bob@example.org"),
        (b"Subject: =?utf-8?b?R3", b"Subject: =?utf-8?b?Q3"),
        (b"Date: Sun, 01", b"Date: Sun, 02"),
        (b"Message-ID: <abc", b"Message-ID: <abd"),
        (b"MIME-Version: 1.0", b"MIME-Version: 1.1"),
        (b"multipart/alternative", b"multipart/alternatime"),
        (b"Reply-To: Ada", b"Reply-To: Eve"),
        (b"List-Id: ", b"List-Id: x"),
        (b"List-Unsubscribe: <https", b"List-Unsubscribe: <http"),
        (b"=One-Click", b"=Two-Click"),
        (b"Feedback-ID: 7", b"Feedback-ID: 8"),
        (b"<p>Hello Ada", b"<p>Hello Eve"),
        (b"two =20spaces", b"two =20places"),
    ],
)
def test_a_mail_that_was_tampered_with_does_not_verify(key: DkimKey, old: bytes, new: bytes) -> None:
    content = CONTENT.replace(b"two  spaces", b"two =20spaces")
    forged = content.replace(old, new)
    assert forged != content
    assert not verifies(signature(content, key) + forged)


@KEYS
@pytest.mark.parametrize(
    "header", ["From: eve@evil.example", "Subject: urgent", "To: bob@example.org", "Date: now"]
)
def test_a_second_header_of_a_kind_that_readers_show_breaks_the_signature(key: DkimKey, header: str) -> None:
    assert not verifies(signature(CONTENT, key) + header.encode() + b"\r\n" + CONTENT)


def test_a_reply_to_cannot_be_added() -> None:
    content = mime.build(a_mail())
    assert not verifies(signature(content, RSA) + b"Reply-To: eve@evil.example\r\n" + content)


@KEYS
def test_what_relays_do_to_blanks_and_other_headers_does_no_harm(key: DkimKey) -> None:
    travelled = CONTENT.replace(b"Subject: ", b"SUBJECT:   ").replace(b"7\r\nMIME", b"7\r\nX-More: 1\r\nMIME")
    assert travelled != CONTENT
    assert verifies(b"Received: from a by b\r\n" + signature(CONTENT, key) + travelled + b"\r\n\r\n")


@KEYS
def test_the_same_mail_gives_the_same_signature(key: DkimKey) -> None:
    assert signature(CONTENT, key) == signature(CONTENT, key)


@KEYS
def test_a_signature_is_ascii_in_short_lines(key: DkimKey) -> None:
    header = signature(CONTENT, key)
    assert header.isascii()
    assert header.endswith(b"\r\n")
    assert max(map(len, header.split(b"\r\n"))) <= 78


def test_all_that_is_there_and_matters_is_signed_and_nothing_else() -> None:
    names = re.search(r"h=([^;]+);", signature(CONTENT, RSA).decode())
    assert names is not None
    assert "".join(names[1].split()).lower().split(":") == [
        *("from", "to", "subject", "date", "message-id", "mime-version", "content-type", "reply-to"),
        *("list-id", "list-unsubscribe", "list-unsubscribe-post", "feedback-id"),
        *("from", "to", "subject", "date", "reply-to"),
    ]


def test_an_address_outside_ascii_is_signed_as_it_stands() -> None:
    assert verifies(signed(mime.build(a_mail(recipient="düsentrieb@example.org")), RSA))


@KEYS
def test_a_stored_key_signs_the_same(key: DkimKey) -> None:
    stored = from_pem(to_pem(key), domain=key.domain, selector=key.selector)
    assert signature(CONTENT, stored) == signature(CONTENT, key)
    assert record_value(stored) == record_value(key)


def test_records_say_what_kind_of_key_they_hold() -> None:
    assert record_name(RSA) == "m1._domainkey.acme.example"
    assert re.fullmatch(r"v=DKIM1; k=rsa; p=MIIB[A-Za-z0-9+/]+=*", record_value(RSA))
    assert re.fullmatch(r"v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}=", record_value(ED25519))


def test_a_key_does_not_show_itself() -> None:
    assert "private" not in repr(RSA)


@pytest.mark.parametrize(
    ("domain", "selector"),
    [
        ("", "a"),
        ("a.example", ""),
        ("a.example; t=y", "a"),
        ("a.example", "a\r\nb"),
        ("ü.example", "a"),
        (".", "a"),
    ],
)
def test_names_that_cannot_stand_in_the_dns_are_refused(domain: str, selector: str) -> None:
    with pytest.raises(BadDkimKey):
        DkimKey(
            domain=domain, selector=selector, algorithm=ED25519.algorithm, private_key=ED25519.private_key
        )


def test_a_key_of_another_algorithm_is_refused() -> None:
    with pytest.raises(BadDkimKey, match="not one for this algorithm"):
        DkimKey(
            domain="a.example",
            selector="a",
            algorithm=DkimAlgorithm.RSA_SHA256,
            private_key=ED25519.private_key,
        )


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        new_ec_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        new_rsa_key(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())[:-60],
    ],
    ids=["nothing", "nonsense", "another kind", "half a key"],
)
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(BadDkimKey):
        from_pem(pem, domain="a.example", selector="a")
