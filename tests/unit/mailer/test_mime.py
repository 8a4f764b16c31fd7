from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import parseaddr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailement_mailer.mailbox import Mailbox
from mailement_mailer.providers.mime import build
from mailement_mailer.providers.port import RenderedMail
from mailement_mailer.text import many_lines, one_line
from tests.support.mails import LINK, a_mail

LINES = st.text().map(one_line)
BODIES = st.text().map(many_lines)


def parsed(mail: RenderedMail) -> EmailMessage:
    message = message_from_bytes(build(mail), policy=default)
    assert isinstance(message, EmailMessage)
    return message


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content


def display_name(content: bytes) -> str:
    # By the older parser: the newer one in Python 3.11 puts a space between two encoded words.
    sender = message_from_bytes(content)["From"]
    return one_line(str(make_header(decode_header(parseaddr(sender)[0]))))


def unwrapped(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def test_the_text_part_comes_first() -> None:
    parts = [part.get_content_type() for part in parsed(a_mail()).iter_parts()]
    assert parts == ["text/plain", "text/html"]


def test_a_text_only_mail_has_one_part() -> None:
    message = parsed(a_mail(html=None))
    assert message.get_content_type() == "text/plain"


def test_long_links_stand_in_their_header_as_they_are() -> None:
    assert f"\r\nList-Unsubscribe: <{LINK}>\r\n".encode() in build(a_mail())


def test_the_same_mail_gives_the_same_bytes() -> None:
    assert build(a_mail()) == build(a_mail())


def test_the_bytes_are_ascii_with_crlf() -> None:
    content = build(a_mail(subject="Grüße", text="Grüße\n", html="<p>Grüße</p>"))
    assert content.isascii()
    assert content.count(b"\n") == content.count(b"\r\n")
    assert max(len(line) for line in content.split(b"\r\n")) <= 998


def test_an_address_outside_ascii_is_written_in_utf8() -> None:
    assert "\r\nTo: düsentrieb@example.org\r\n".encode() in build(a_mail(recipient="düsentrieb@example.org"))


@pytest.mark.parametrize(
    "recipient", ['"a b"@example.org', "a+b=c@example.org", "o'neill@example.org", "a.b@x--y.example"]
)
def test_unusual_addresses_survive(recipient: str) -> None:
    assert parsed(a_mail(recipient=recipient))["To"].addresses[0].addr_spec == recipient


@pytest.mark.parametrize(
    "name", ["", "A, B", 'A "B" C', "Grüße", "0" + "\u0800" * 14 + " \u00a1", "ü ß " * 50, "🦊" * 200, "a\\b"]
)
def test_a_sender_s_name_survives_however_long_and_strange(name: str) -> None:
    content = build(a_mail(sender=Mailbox(name=name, address="a@b.example")))
    assert display_name(content) == name.strip()
    assert max(len(line) for line in content.split(b"\r\n")) <= 998


@given(subject=LINES, name=LINES, text=BODIES, html=BODIES)
@example(subject="0000 0¡¡" + "\U00010000" * 8 + " ¡", name="", text="", html="")
@example(subject="", name="0" + "\u0800" * 14 + " \u00a1", text="", html="")
def test_what_goes_in_comes_out(subject: str, name: str, text: str, html: str) -> None:
    mail = a_mail(subject=subject, sender=Mailbox(name=name, address="a@b.example"), text=text, html=html)
    message = parsed(mail)
    assert one_line(str(message["Subject"])) == subject
    assert display_name(build(mail)) == name
    assert unwrapped(body(message, "plain")) == unwrapped(text)
    assert unwrapped(body(message, "html")) == unwrapped(html)
    assert len(message.defects) == 0
    assert set(message.keys()) == {
        "From",
        "To",
        "Subject",
        "Message-ID",
        "Date",
        "List-Unsubscribe",
        "MIME-Version",
        "Content-Type",
    }
