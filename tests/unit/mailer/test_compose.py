from __future__ import annotations

import orjson
import pytest

from mailement_common.ids import SubscriberId
from mailement_common.sealing import KeyRing
from mailement_mailer.compose import CannotCompose, Composer, freeze, thaw
from mailement_mailer.mailbox import Mailbox, NotAMailbox, parse_mailbox
from mailement_mailer.providers.port import NotSendable
from mailement_newsletter.ids import MessageId
from mailement_newsletter.links import read_unsubscribe_token
from mailement_newsletter.rules.senders import MailKind
from tests.support.mails import KEYS, NOON, a_brand, a_claimed, a_mail, a_recipient, a_step

RING = KeyRing(KEYS)


def composer(public_url: str = "https://news.example") -> Composer:
    return Composer(
        sender=Mailbox(name="House", address="house@mail.example"),
        public_url=public_url,
        keys=RING,
    )


def test_the_unsubscribe_link_is_in_the_header_and_is_the_subscribers_own() -> None:
    mail = composer().compose(a_claimed(), a_step(), NOON)
    link = mail.headers["List-Unsubscribe"]
    assert link.startswith("<https://news.example/unsubscribe/")
    assert read_unsubscribe_token(RING, link.rpartition("/")[2].rstrip(">")) == a_recipient().id
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_one_click_is_offered_by_https_alone() -> None:
    mail = composer("http://127.0.0.1:8080").compose(a_claimed(), a_step(), NOON)
    assert mail.headers["List-Unsubscribe"].startswith("<http://127.0.0.1:8080/unsubscribe/")
    assert "List-Unsubscribe-Post" not in mail.headers


def test_a_brand_without_an_address_sends_from_the_house() -> None:
    assert str(composer().compose(a_claimed(), a_step(), NOON).sender) == '"House" <house@mail.example>'


def test_a_brands_own_sender_comes_first() -> None:
    brand = a_brand(sender_name='The "A" Team', sender_address="hi@acme.example")
    mail = composer().compose(a_claimed(brand=brand), a_step(), NOON)
    assert str(mail.sender) == '"The \\"A\\" Team" <hi@acme.example>'
    assert mail.message_id.endswith("@acme.example>")
    assert mail.headers["List-Id"] == '"Acme" <acme.acme.example>'


def test_a_chosen_sender_comes_before_the_brands_own() -> None:
    chosen = Mailbox(name="Maria", address="maria@mail.acme.example")
    brand = a_brand(sender_name="Acme", sender_address="hi@acme.example")
    mail = composer().compose(a_claimed(brand=brand), a_step(), NOON, sender=chosen)
    assert mail.sender == chosen
    assert mail.message_id.endswith("@mail.acme.example>")
    assert mail.headers["List-Id"] == '"Acme" <acme.mail.acme.example>'
    assert "Reply-To" not in mail.headers


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ("help@acme.example", "help@acme.example"),
        ("Acme Help <help@acme.example>", '"Acme Help" <help@acme.example>'),
        ("Ayuda Española <help@acme.example>", "help@acme.example"),
    ],
)
def test_replies_go_where_the_sender_wishes(given: str, header: str) -> None:
    assert composer().compose(a_claimed(), a_step(), NOON, reply_to=given).headers["Reply-To"] == header


@pytest.mark.parametrize("wrong", ["nobody", "a@b.example\r\nBcc: c@d.example", "é@acme.example", ""])
def test_an_impossible_reply_address_is_a_reason(wrong: str) -> None:
    with pytest.raises(CannotCompose, match=r"^reply-to: "):
        composer().compose(a_claimed(), a_step(), NOON, reply_to=wrong)


@pytest.mark.parametrize("kind", [MailKind.DRIP, MailKind.CAMPAIGN])
def test_mail_to_many_says_which_list_it_is_of(kind: MailKind) -> None:
    mail = composer().compose(a_claimed(kind=kind), a_step(html="<p>Hi</p>"), NOON)
    assert list(mail.headers) == [
        "Date",
        "List-Id",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "Precedence",
        "Feedback-ID",
        "X-Mailement-Message",
    ]
    assert mail.headers["Precedence"] == "bulk"
    assert "/unsubscribe/" in mail.text
    assert mail.html is not None
    assert "/unsubscribe/" in mail.html


def test_an_answer_to_one_person_is_of_no_list_and_gets_no_footer() -> None:
    step = a_step(html="<p>Hi</p>", text="Hi")
    mail = composer().compose(a_claimed(kind=MailKind.TRANSACTIONAL), step, NOON)
    assert list(mail.headers) == ["Date", "Feedback-ID", "X-Mailement-Message"]
    assert (mail.html, mail.text) == ("<p>Hi</p>", "Hi")


@pytest.mark.parametrize("kind", list(MailKind))
def test_the_feedback_id_names_the_mail_and_nobody_who_gets_it(kind: MailKind) -> None:
    first = composer().compose(a_claimed(kind=kind), a_step(), NOON)
    other = a_claimed(
        id=MessageId(8), kind=kind, dedupe_key="drip:9:2", recipient=a_recipient(id=SubscriberId(6))
    )
    second = composer().compose(other, a_step(), NOON)
    assert first.headers["Feedback-ID"] == second.headers["Feedback-ID"]
    fields = first.headers["Feedback-ID"].split(":")
    assert fields[:3] == ["drip-4", "acme", kind]
    assert len(fields) == 4
    assert 5 <= len(fields[3]) <= 15


def test_the_local_part_stays_as_typed_and_the_domain_is_ascii() -> None:
    recipient = a_recipient(email="Ada.L@Bücher.example", email_key="ada.l@xn--bcher-kva.example")
    assert (
        composer().compose(a_claimed(recipient=recipient), a_step(), NOON).recipient
        == "Ada.L@xn--bcher-kva.example"
    )


def test_the_same_message_has_the_same_message_id_for_ever() -> None:
    first = composer().compose(a_claimed(), a_step("one"), NOON)
    second = composer().compose(a_claimed(), a_step("two"), NOON)
    other = composer().compose(a_claimed(dedupe_key="drip:1:3"), a_step(), NOON)
    assert first.message_id == second.message_id != other.message_id


def test_a_frozen_mail_is_sent_as_it_was() -> None:
    mail = composer().compose(a_claimed(), a_step(), NOON)
    frozen = orjson.loads(orjson.dumps(freeze(mail)))
    assert composer().compose(a_claimed(payload=frozen), a_step("edited since"), NOON) == mail
    thawed = thaw(a_claimed(), frozen)
    assert thawed == mail
    assert list(thawed.headers) == list(mail.headers)


def test_a_template_fault_names_itself() -> None:
    with pytest.raises(CannotCompose, match=r"^template: "):
        composer().compose(a_claimed(), a_step("{% if %}"), NOON)


def test_a_message_without_its_step_cannot_be_composed() -> None:
    with pytest.raises(CannotCompose, match=r"^template: "):
        composer().compose(a_claimed(), None, NOON)


@pytest.mark.parametrize(
    "address", ["nobody", "a@b\r\nBcc: c@d.e", "ü@acme.example", "a b@c.d", "@x.y", "a@"]
)
def test_a_brands_impossible_sender_is_a_reason(address: str) -> None:
    with pytest.raises(CannotCompose, match=r"^sender: "):
        composer().compose(a_claimed(brand=a_brand(sender_address=address)), a_step(), NOON)


def test_a_brand_name_cannot_add_headers() -> None:
    brand = a_brand(name='x"\r\nBcc: evil@example.com\r\n', sender_address="hi@acme.example")
    mail = composer().compose(a_claimed(brand=brand), a_step(), NOON)
    assert "\n" not in mail.headers["List-Id"]
    assert "\n" not in mail.sender.name


@pytest.mark.parametrize("evil", ["x\r\nBcc: y@z.example", "x\ny", "x\ry", "x\x00", "x\u2028y", "x\x85y"])
@pytest.mark.parametrize("place", ["recipient", "subject", "message_id", "header", "header name"])
def test_no_mail_can_carry_a_line_end_in_a_header(place: str, evil: str) -> None:
    change = {
        "header": {"headers": {"X-A": evil}},
        "header name": {"headers": {evil: "a"}},
    }.get(place, {place: evil})
    with pytest.raises(NotSendable):
        a_mail(**change)


def test_a_mailbox_is_read_as_people_write_it() -> None:
    assert parse_mailbox("Acme News <a@b.example>") == Mailbox(name="Acme News", address="a@b.example")
    assert parse_mailbox("a@b.example") == Mailbox(name="", address="a@b.example")
    with pytest.raises(NotAMailbox):
        parse_mailbox("Acme News")


@pytest.mark.parametrize(
    "recipient",
    ["ada", "", "a@b> SIZE=1", "ada@", "<a@b.example>", "a@b.example, c@d.example", "a b@c.example"],
)
def test_no_mail_goes_to_what_is_not_one_address(recipient: str) -> None:
    with pytest.raises(NotSendable):
        a_mail(recipient=recipient)


def test_an_impossible_subscriber_is_a_reason() -> None:
    recipient = a_recipient(email="two@a.example, one@b.example", email_key="two@a.example, one@b.example")
    with pytest.raises(CannotCompose, match=r"^mail: "):
        composer().compose(a_claimed(recipient=recipient), a_step(), NOON)
