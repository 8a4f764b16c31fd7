from __future__ import annotations

from typing import Any

import pytest

from mailement_mailer.plain import text_of
from mailement_mailer.render import Renderer, Words
from mailement_newsletter.content.sandbox import TemplateFault
from tests.support.mails import LINK, a_brand, a_recipient, a_step


def render(
    *, subject: str = "Welcome", html: str | None = None, text: str | None = None, **person: Any
) -> Words:
    return Renderer().render(a_step(subject, html=html, text=text), a_recipient(**person), a_brand(), LINK)


def test_merge_fields_have_short_and_long_names() -> None:
    words = render(
        subject="{{ first_name }} at {{ brand.name }}",
        text="{{ subscriber.last_name }}, {{ city }}, {{ custom_fields.plan }}, {{ subscriber.email }}",
    )
    assert words.subject == "Ada at Acme"
    assert words.text.startswith("Lovelace, London, pro, Ada@Example.org")


@pytest.mark.parametrize("field", ["last_name", "nothing", "custom_fields.no.such", "subscriber.x", "a[0].b"])
def test_a_missing_merge_field_renders_empty(field: str) -> None:
    assert render(text=f"[{{{{ {field} }}}}]", last_name=None).text.startswith("[]")


def test_html_is_escaped_and_text_is_not() -> None:
    words = render(
        subject="{{ first_name }}",
        html="<b>{{ first_name }}</b>",
        text="{{ first_name }}",
        first_name="A&B<i>",
    )
    assert words.html is not None
    assert "<b>A&amp;B&lt;i&gt;</b>" in words.html
    assert words.text.startswith("A&B<i>")
    assert words.subject == "A&B<i>"


def test_html_alone_gets_a_text_part() -> None:
    words = render(html='<h1>Hi</h1><p>Read <a href="https://x.example/a">this</a></p>')
    assert "<" not in words.text
    assert "[this](https://x.example/a)" in words.text


def test_text_alone_stays_text() -> None:
    assert render(text="Hello").html is None


def test_the_unsubscribe_link_is_added_to_both_parts() -> None:
    words = render(html="<html><body><p>Hi</p></body></html>", text="Hi")
    assert words.html is not None
    assert words.html.endswith("</body></html>")
    assert words.html.count(LINK) == 1
    assert words.text.count(LINK) == 1


def test_a_template_that_has_the_link_gets_no_footer() -> None:
    words = render(html='<a href="{{ unsubscribe_url }}">leave</a>', text="Leave: {{ unsubscribe_url }}")
    assert words.html == f'<a href="{LINK}">leave</a>'
    assert words.text == f"Leave: {LINK}"


def test_a_link_in_a_branch_that_is_not_taken_does_not_count() -> None:
    words = render(text="{% if false %}{{ unsubscribe_url }}{% endif %}Hi")
    assert words.text.count(LINK) == 1


@pytest.mark.parametrize("name", ["A\r\nBcc: x@y.z", "A\nB", "A\u2028B", "A\x85B", "A\x00B", "A\x0bB"])
def test_the_subject_is_one_line_whatever_a_name_holds(name: str) -> None:
    subject = render(subject="Hello {{ first_name }}", text="x", first_name=name).subject
    assert len(subject.splitlines()) == 1
    assert subject.startswith("Hello A ")


def test_what_a_database_cannot_hold_is_taken_out() -> None:
    words = render(text="a{{ '%00' | url_decode }}b\tc\n")
    assert words.text.startswith("ab\tc\n")


@pytest.mark.parametrize(
    "source",
    [
        "{% if %}",
        "{{ 'x' | no_such_filter }}",
        "{% include 'other' %}",
        "{% render 'other' %}",
        "{% no_such_tag %}",
        "{{ 'x' | divided_by: 0 }}",
        "{% for i in (1..100000) %}x{% endfor %}",
        "{% for i in (1..1000) %}{% for j in (1..1000) %}x{% endfor %}{% endfor %}",
        "{{ (1..100000000) | join: 'x' }}",
        "{% assign a = 'xxxxxxxxxx' %}" + "{% assign a = a | append: a %}" * 40,
        "{% assign a = 'xxxxxxxxxx' %}{{ a" + " | replace: 'x', a" * 20 + " }}",
        "{% assign a = 'xxxxxxxxxx' %}{% assign b = a"
        + " | append: a" * 5000
        + " %}{{ (1..4000) | join: b }}",
        "{% assign n = 9 %}" + "{% assign n = n | times: n %}" * 40,
        "{% for i in (1..9999) %}" + "{{ 'x' | append: 'y' }}" * 500 + "{% endfor %}",
        "{% for i in (1..9999) %}" + "{% assign a = 1 %}" * 2000 + "{% endfor %}",
        "{% if true %}" * 31 + "{% endif %}" * 31,
        "{{" * 200_000,
        "x" * 500_001,
    ],
)
def test_a_template_that_cannot_or_must_not_be_rendered_is_a_fault(source: str) -> None:
    with pytest.raises(TemplateFault):
        render(text=source)


def test_a_subject_has_less_room_than_a_body() -> None:
    with pytest.raises(TemplateFault):
        render(subject="{% for i in (1..3000) %}x{% endfor %}", text="x")


def test_filters_still_work_within_the_limits() -> None:
    words = render(
        text="{{ first_name | upcase | replace: 'A', 'E' | append: '!' }}{{ 'a,b' | split: ',' | join: '-' }}"
    )
    assert words.text.startswith("EDE!a-b")


@pytest.mark.parametrize(
    "html", ["", "<!-- only a comment -->", "<div>" * 3000 + "x", "<p", "\ufeff<p>x</p>"]
)
def test_odd_html_still_becomes_a_mail(html: str) -> None:
    assert LINK in render(html=html).text


MJML = """<mjml><mj-head><mj-style>.big{font-size:30px}</mj-style></mj-head><mj-body><mj-section><mj-column>
    <mj-text css-class="big">Hello {{ first_name | default: "friend" }}</mj-text>
    <mj-button href="https://x.example/?plan={{ custom_fields.plan | url_encode }}">Go on</mj-button>
    </mj-column></mj-section></mj-body></mjml>"""


def test_mjml_becomes_html_and_text() -> None:
    words = render(html=MJML, first_name="A&B")
    assert words.html is not None
    assert "<table" in words.html
    assert "Hello A&amp;B" in words.html
    assert 'href="https://x.example/?plan=pro"' in words.html
    assert words.html.count(LINK) == 1
    assert "Hello A&B" in words.text
    assert "[Go on](https://x.example/?plan=pro)" in words.text


def test_mjml_that_does_not_compile_is_a_fault() -> None:
    with pytest.raises(TemplateFault, match="mj-include"):
        render(html="<mjml><mj-body><mj-include path='x'/></mj-body></mjml>")


def test_styles_are_written_into_the_elements_after_liquid() -> None:
    words = render(
        html="<style>p{color:{{ custom_fields.plan }}} @media print{p{color:black}}</style><p>Hi</p>"
    )
    assert words.html is not None
    assert '<p style="color: pro;">Hi</p>' in words.html
    assert "@media print" in words.html


def test_styles_that_cannot_be_inlined_are_a_fault() -> None:
    sheet = "<style>b{" + ";".join(f"p{i}:y" for i in range(3000)) + "}</style>"
    with pytest.raises(TemplateFault, match="styles"):
        render(html=sheet + "<b>x</b>" * 3000)


def test_no_footer_is_added_where_none_is_wanted() -> None:
    step = a_step(html="<p>Your order</p>", text=None)
    words = Renderer().render(step, a_recipient(), a_brand(), LINK, with_footer=False)
    assert words.html == "<p>Your order</p>"
    assert words.text == "Your order\n"


@pytest.mark.parametrize(
    "html",
    [
        "<p>Hi {{ first_name }}, of {{ city | upcase }}</p>",
        '<p><a href="https://x.example/{{ custom_fields.plan }}">{{ first_name }}</a></p>',
        "<ul><li>{{ first_name }}</li><li>{{ nothing }}</li></ul>",
        "{% if city %}<p>{{ first_name }}</p>{% endif %}{% unless city %}<p>no</p>{% endunless %}",
        "<table><tr><td>{% if nothing %}a{% else %}b{% endif %}</td><td>c</td></tr></table>",
        "{% for i in (1..3) %}<p>{{ i }}</p>{% endfor %}",
        "{% raw %}<p>{{ first_name }}</p>{% endraw %}",
        "<p>{{ first_name | escape }} {{ '<b>x</b>' }} {{ 'a &amp; b' }}</p>",
        "<p>{{ 'a,b' | split: ',' | join: ' ' | newline_to_br }}</p>",
        "<title>{{ first_name }}</title><p title='{{ city }}'>x</p>",
        "<p>{{ first_name }}</p>\ue0f00\ue0f1",
        "<p>&#123;{ first_name }}</p>",
    ],
)
def test_the_text_of_html_is_the_same_whether_made_once_or_for_each_mail(html: str) -> None:
    person = a_recipient(first_name="Å & <B>")
    words = Renderer().render(a_step(html=html, text=None), person, a_brand(), LINK, with_footer=False)
    assert words.html is not None
    assert words.text == text_of(words.html)


def test_the_second_mail_of_a_source_is_not_the_first_ones() -> None:
    renderer = Renderer()
    step = a_step("Hi {{ first_name }}", html=MJML, text=None)
    for name in ("Ada", "Bo", "Ada"):
        words = renderer.render(step, a_recipient(first_name=name), a_brand(), LINK)
        assert words.subject == f"Hi {name}"
        assert words.html is not None
        assert f"Hello {name}" in words.html
        assert f"Hello {name}" in words.text
