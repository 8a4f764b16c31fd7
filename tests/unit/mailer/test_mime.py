from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default, strict
from email.utils import parseaddr

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mailement_mailer.mailbox import Mailbox
from mailement_mailer.providers.mime import build
from mailement_mailer.providers.port import RenderedMail
from mailement_mailer.text import many_lines, one_line
from tests.support import mime_oracle
from tests.support.mails import LINK, a_mail

# Beside anything at all: what encodings stumble over.
PIECES = st.sampled_from(
    [
        *(".", "..", "\n.", "\n.\n", "\nFrom ", "From ", "From", " \n", "\t\n", "\r\n", "\r", "\n", "\n\n"),
        *(
            "=",
            "=3D",
            "=_",
            "--",
            "ü",
            "ß " * 30,
            "🦊",
            "👩‍👩‍👧‍👦",
            "漢字",
            "\u00a0",
            "a" * 75,
            "b" * 200,
            "word " * 40,
            '"',
            "\\",
            "?=",
        ),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=40).map("".join))
LINES = TEXTS.map(one_line)
BODIES = TEXTS.map(many_lines)


def parsed(mail: RenderedMail | bytes) -> EmailMessage:
    message = message_from_bytes(mail if isinstance(mail, bytes) else build(mail), policy=default)
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


@given(subject=LINES, name=LINES, text=BODIES, html=st.none() | BODIES)
@example(subject="0000 0¡¡" + "\U00010000" * 8 + " ¡", name="", text="", html="")
@example(subject="", name="0" + "\u0800" * 14 + " \u00a1", text="", html="")
@example(subject="a" * 995, name="a" * 995, text="a" * 995, html=None)
@example(subject="=?utf-8?q?no?=", name="=?utf-8?q?no?=", text="=?utf-8?q?no?=", html=None)
def test_what_goes_in_comes_out(subject: str, name: str, text: str, html: str | None) -> None:
    mail = a_mail(subject=subject, sender=Mailbox(name=name, address="a@b.example"), text=text, html=html)
    message = parsed(mail)
    assert one_line(str(message["Subject"])) == subject
    assert display_name(build(mail)) == name
    assert unwrapped(body(message, "plain")) == unwrapped(text)
    if html is not None:
        assert unwrapped(body(message, "html")) == unwrapped(html)
    assert [part.defects for part in message.walk()] == [[]] * len(list(message.walk()))


@given(subject=LINES, name=LINES, text=BODIES, html=st.none() | BODIES)
def test_a_reader_sees_what_the_standard_library_would_have_sent(
    subject: str, name: str, text: str, html: str | None
) -> None:
    # The library lets a text pass for encoded words, and breaks words that are longer than a line may be.
    assume("=?" not in subject + name and max(map(len, [*subject.split(), ""])) < 900)
    mail = a_mail(subject=subject, sender=Mailbox(name=name, address="a@b.example"), text=text, html=html)
    ours, theirs = build(mail), mime_oracle.build(mail)
    assert header_values(ours) == header_values(theirs)
    assert parts(ours) == parts(theirs)


def header_values(content: bytes) -> dict[str, str]:
    message = parsed(content)
    values = {name: str(value) for name, value in message.items()}
    # How a part is coded may differ, what it holds not.
    for coded in ("Content-Transfer-Encoding", "Content-Type"):
        values.pop(coded, None)
    values["From"] = f"{display_name(content)} <{message['From'].addresses[0].addr_spec}>"
    values["Subject"] = one_line(values["Subject"])
    return values


def parts(content: bytes) -> list[tuple[str, str | None]]:
    return [
        (part.get_content_type(), None if part.is_multipart() else part.get_content().replace("\r\n", "\n"))
        for part in parsed(content).walk()
    ]


@given(subject=LINES, name=LINES, text=BODIES, html=BODIES)
def test_every_line_keeps_to_the_limits(subject: str, name: str, text: str, html: str) -> None:
    mail = a_mail(subject=subject, sender=Mailbox(name=name, address="a@b.example"), text=text, html=html)
    content = build(mail)
    assert content.isascii()
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert b"\n" not in content.replace(b"\r\n", b"")
    head, _, rest = content.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 998
    lines = rest.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.startswith((b".", b"From ")) or line.endswith((b" ", b"\t")) for line in lines)
    words = [word for line in head.split(b"\r\n") for word in line.split() if word.startswith(b"=?utf-8")]
    assert all(len(word) <= 75 for word in words)


def test_a_text_in_another_script_is_not_blown_up() -> None:
    text = "これはニュースレターです。\n" * 200
    assert len(build(a_mail(text=text, html=None))) < len(text.encode()) * 1.5


@pytest.mark.parametrize(
    "text", ["." + "a" * 74, "." + "=" * 30, "From " + "a" * 70, "." * 500, "From " * 100]
)
def test_a_line_that_begins_with_a_dot_or_from_is_guarded_and_not_too_long(text: str) -> None:
    mail = a_mail(text=text, html=None)
    assert unwrapped(parsed(mail).get_content()) == text
    lines = build(mail).partition(b"\r\n\r\n")[2].split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.startswith((b".", b"From ")) for line in lines)


def test_a_long_subject_is_folded_and_read_as_one() -> None:
    subject = "A rather long subject that goes on " * 6 + "and ends"
    content = build(a_mail(subject=subject))
    assert max(map(len, content.partition(b"\r\nMessage-ID")[0].split(b"\r\n"))) <= 78
    assert parsed(a_mail(subject=subject))["Subject"] == subject


def test_nothing_in_a_mail_of_ours_is_a_defect_to_a_strict_reader() -> None:
    message_from_bytes(build(a_mail(subject="Grüße", text="Grüße")), policy=strict)
