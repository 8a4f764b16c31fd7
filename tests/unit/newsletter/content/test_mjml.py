"""MJML becomes HTML, and Liquid passes through."""

from __future__ import annotations

import threading

import pytest

from mailement_newsletter.content.mjml import is_mjml, to_html
from mailement_newsletter.content.sandbox import Sandbox, TemplateFault


def mail(body: str, head: str = "") -> str:
    return f"<mjml><mj-head>{head}</mj-head><mj-body>{body}</mj-body></mjml>"


def column(inner: str) -> str:
    return mail(f"<mj-section><mj-column>{inner}</mj-column></mj-section>")


def rendered(source: str, **values: object) -> str:
    return Sandbox(autoescape=True, output_bytes=1_000_000).render(to_html(source), values)


@pytest.mark.parametrize(
    "source",
    [
        "<mjml></mjml>",
        "\ufeff\n <mjml owa='desktop'>",
        "<!-- made by hand --><MJML>",
        "<?xml version='1.0'?>\n<mjml>",
        "{% assign a = '<p>' %}<mjml>",
    ],
)
def test_a_source_whose_first_element_is_mjml_is_mjml(source: str) -> None:
    assert is_mjml(source)


@pytest.mark.parametrize(
    "source", ["", "hello", "<p>", "<html><mjml>", "<mjmlx>", "<!-- <mjml> -->", "{{ '<mjml>' }}", "mjml"]
)
def test_all_else_is_html(source: str) -> None:
    assert not is_mjml(source)


def test_elements_become_tables_and_texts_stay() -> None:
    html = to_html(column("<mj-text>Héllo &amp; welcome</mj-text>"))
    assert html.startswith("<!doctype html>")
    assert "Héllo &amp; welcome" in html
    assert "<table" in html
    assert "mj-text" not in html


@pytest.mark.parametrize(
    "liquid",
    [
        "{{ first_name }}",
        """{{ first_name | default: "friend <b>" | append: '&' }}""",
        "{% if a < b and c > 3 %}x{% endif %}",
        "{{ a }}{{ b }}{%- comment -%} -- {%- endcomment -%}",
        "{% raw %}{{ x }}{% endraw %}",
        "{{\n  first_name\n}}",
    ],
)
def test_liquid_in_texts_and_attributes_survives_as_it_is(liquid: str) -> None:
    html = to_html(
        column(
            f"""<mj-text>[{liquid}]</mj-text><mj-button href='https://x.example/{liquid}'>Go</mj-button>"""
        )
    )
    assert f"[{liquid}]" in html
    assert f"https://x.example/{liquid}" in html


def test_liquid_in_styles_titles_and_previews_survives() -> None:
    html = to_html(
        mail(
            "",
            "<mj-style>.a{color:{{ c }}}</mj-style><mj-title>{{ t }}</mj-title><mj-preview>{{ p }}</mj-preview>",
        )
    )
    for liquid in ("{color:{{ c }}}", "<title>{{ t }}</title>", "{{ p }}"):
        assert liquid in html


def test_liquid_between_elements_chooses_and_repeats_them() -> None:
    source = mail(
        """{% if show %}<mj-section>{% for name in names %}<mj-column>
        <mj-text>Hi {{ name }}</mj-text></mj-column>{% endfor %}</mj-section>{% endif %}
        <mj-section><mj-column><mj-text>Bye</mj-text></mj-column></mj-section>"""
    )
    shown = rendered(source, show=True, names=["Ada", "<Bo>"])
    assert "Hi Ada" in shown
    assert "Hi &lt;Bo&gt;" in shown
    hidden = rendered(source, show=False)
    assert "Hi" not in hidden
    assert "Bye" in hidden
    assert "mj-raw" not in shown


def test_liquid_in_front_of_the_mail_is_not_forgotten() -> None:
    assert "[5]" in rendered("{% assign a = 5 %}\n<!-- b -->" + column("<mj-text>[{{ a }}]</mj-text>"))


def test_what_only_microsoft_reads_may_be_unbalanced() -> None:
    html = to_html(
        mail(
            "<mj-raw><!--[if mso]><table><tr><td><![endif]--><b>x</b><!--[if mso]></td></tr></table><![endif]-->"
            "<!--[if !mso]><!--><i>y</i><!--<![endif]--></mj-raw>"
        )
    )
    assert "<!--[if mso]><table><tr><td><![endif]--><b>x</b>" in html


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        (mail("\n<mj-include path='https://evil.example/a.mjml' />"), 2, "mj-include is refused: a mail is one source"),
        (mail("", "\n\n<mj-include path='./a.css' type='css'/>"), 3, "mj-include is refused: a mail is one source"),
        (column("<mj-text>\n<MJ-INCLUDE path='/etc/passwd'/></mj-text>"), 2, "mj-include is refused: a mail is one source"),
        (mail("\n<mj-sectoin></mj-sectoin>"), 2, "there is no element mj-sectoin; did you mean mj-section?"),
        (mail("\n<mj-section>"), 2, "mj-section is not closed"),
        (mail("\n</mj-section>"), 2, "mj-section is closed, but not open"),
        (column("<mj-text>\n<p>a<p>b</mj-text>"), 2, "p is not closed"),
        ("<mjml>\n<mj-body>", 2, "mj-body is not closed"),
        (column("<mj-text>a\n< b</mj-text>"), 2, "a < that begins no element is written &lt;"),
        (column("\n<mj-text><a href=x>y</a></mj-text>"), 2, "the value of href stands in quotes"),
        (
            column("\n<mj-text><b {% if a %}class='x'{% endif %}>y</b></mj-text>"),
            2,
            "Liquid in b stands in the quotes of a value",
        ),
        (mail("<mj-wrapper>" * 101 + "</mj-wrapper>" * 101), 1, "elements are nested deeper than 100"),
        (mail("<mj-section/>" * 10_001), None, "MJML: more than 10000 elements"),
        (mail("<mj-section><mj-column/></mj-section>" * 4_000), None, "the MJML becomes more than 1000000 characters of HTML"),
        ("<mjml>" + " " * 500_000 + "</mjml>", None, "longer than 500000 characters"),
    ],
)  # fmt: skip
def test_what_is_no_mjml_is_refused_with_its_line(source: str, line: int | None, reason: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        to_html(source)
    assert (str(caught.value), caught.value.line) == (reason, line)


def test_what_the_compiler_alone_refuses_has_its_line_too() -> None:
    with pytest.raises(TemplateFault) as caught:
        to_html("{{ a\n}}\n" + column("<mj-text>{{ b\n}}</mj-text>\n<mj-social><mj-button/></mj-social>"))
    assert str(caught.value).startswith("MJML: unexpected element")
    assert caught.value.line == 5


@pytest.mark.parametrize("hidden", ["<!-->", "<textarea>", "<mj-raw><title>", "<!--[if x]></div></div>-->"])
def test_no_source_overflows_the_stack_of_a_thread(hidden: str) -> None:
    done: list[str] = []

    def compile_it() -> None:
        try:
            done.append(to_html(mail(hidden + "<div>" * 9_000 + "</div>" * 9_000)))
        except TemplateFault as fault:
            done.append(str(fault))

    thread = threading.Thread(target=compile_it)
    thread.start()
    thread.join()
    assert len(done) == 1
