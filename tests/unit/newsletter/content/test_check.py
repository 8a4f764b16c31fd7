"""What is told of a mail when it is saved."""

from __future__ import annotations

import pytest

from mailement_newsletter.content.check import Fault, Part, Severity, check_content

FIELDS = ("plan", "number")


def faults(*, subject: str = "Hello", html: str | None = None, text: str | None = None) -> list[Fault]:
    return check_content(subject, html, text, fields=FIELDS)


def only(found: list[Fault]) -> Fault:
    assert len(found) == 1, found
    return found[0]


def test_a_mail_that_says_what_it_may_has_no_fault() -> None:
    text = """{{ email }} {{ first_name | default: 'reader' }} {{ last_name }} {{ city }}
        {{ custom_fields.plan }} {{ custom_fields['number'] }} {{ custom_fields.plan.inner[0] }}
        {{ subscriber.id }} {{ subscriber.first_name }} {{ subscriber.custom_fields.plan }}
        {{ brand.name }} {{ brand.slug }} {{ unsubscribe_url }} {{ first_name.size }}
        {% assign a = 1 %}{% capture b %}x{% endcapture %}{{ a }}{{ b }}
        {% for field in custom_fields %}{{ field[0] }}{{ forloop.index }}{% endfor %}
        {% raw %}{{ anything }}{% endraw %}"""
    assert faults(subject="Hello {{ first_name }}", html=f"<p>{text}</p>", text=text) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("frist_name", "unknown name frist_name; did you mean first_name?"),
        ("plan", "unknown name plan; did you mean custom_fields.plan?"),
        ("custom_fields.plna", "unknown name custom_fields.plna; did you mean custom_fields.plan?"),
        ("subscriber.emial", "unknown name subscriber.emial; did you mean subscriber.email?"),
        ("brand.nmae", "unknown name brand.nmae; did you mean brand.name?"),
        ("first_name.last", None),
        ("first_name.nick", "unknown name first_name.nick; did you mean first_name?"),
        ("qqq", "unknown name qqq"),
        ("custom_fields[qqq]", "unknown name qqq"),
        ("assinged", "unknown name assinged; did you mean assigned?"),
    ],
)
def test_an_unknown_name_is_an_error_that_knows_what_was_meant(name: str, message: str | None) -> None:
    found = faults(text=f"{{% assign assigned = 1 %}}\n\n{{{{ {name} }}}}")
    if message is None:
        assert found == []
    else:
        assert only(found) == Fault(part=Part.TEXT, line=3, severity=Severity.ERROR, message=message)


def test_a_name_is_looked_for_in_branches_that_no_trial_takes() -> None:
    found = faults(text="{% if false %}{% if frist_name == 'x' %}{{ email | uppcase }}{% endif %}{% endif %}")
    assert [fault.message for fault in found] == [
        "unknown filter uppcase; did you mean upcase?",
        "unknown name frist_name; did you mean first_name?",
    ]


def test_a_name_is_told_once_where_it_stands_first() -> None:
    assert only(faults(text="\n{{ nmae }}\n{{ nmae }}")).line == 2


def test_a_loop_may_ask_for_what_its_last_round_assigned() -> None:
    assert faults(text="{% for i in (1..3) %}{{ last }}{% assign last = i %}{% endfor %}{{ last }}") == []


def test_the_name_of_a_loop_is_unknown_behind_it() -> None:
    assert only(faults(text="{% for i in (1..3) %}{{ i }}{% endfor %}{{ i }}")).message == "unknown name i"


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("a\n{% if %}", 2, "missing expression"),
        ("a\n{% if city %}\nb\n", 2, "expected tag endif, found the end"),
        ("a\n{% for x in (1..2) %}{% if city %}{% endif %}\n\n", 2, "expected tag endfor, found the end"),
        ("a\n\n{% if city < %}{% endif %}", 3, "expected a primitive expression, found the end"),
        ("a\n{% fro x in (1..2) %}", 2, "unknown tag fro; did you mean for?"),
        ("a\n{% include 'x' %}", 2, "unknown tag include"),
        ("a\n{% render 'x' %}", 2, "unknown tag render"),
        ("a\n{% else %}", 2, "else stands outside of its block"),
        ("a\n{% endif %}", 2, "endif stands outside of its block"),
        ("a\n{{ city", 2, "expected }}, found the end"),
        ("a\n{% raw %}{{ x }}", 2, "expected endraw, found the end"),
        ("a\n{{ city city }}", 2, "expected the end, found word"),
        ("a\n{{ 'x' | upcas }}", 2, "unknown filter upcas; did you mean upcase?"),
        ("a\n{{ 'x' | divided_by: 0 }}", 2, "divided_by: can't divide by 0"),
        ("{% if city %}" * 31 + "{% endif %}" * 31, 1, "block nesting limit reached"),
        ("{% for i in (1..100000) %}x{% endfor %}", 1, "loop iteration limit reached"),
        ("{{" + " " * 101 + "city }}", 1, "a tag has more than 10000 characters, or 100 spaces in a row"),
        ("{{ " + "a[" * 2000 + "1" + "]" * 2000 + " }}", None, "an expression is nested too deep"),
        ("x" * 500_001, None, "longer than 500000 characters"),
    ],
)
@pytest.mark.parametrize("part", list(Part))
def test_what_cannot_be_rendered_is_one_error_with_its_line(
    part: Part, source: str, line: int | None, message: str
) -> None:
    sources = {"subject": "Hello", "html": None, "text": "Hello", part: source}
    found = check_content(sources["subject"] or "", sources["html"], sources["text"], fields=FIELDS)
    assert only(found) == Fault(part=part, line=line, severity=Severity.ERROR, message=message)


def test_a_subject_has_less_room_than_a_body() -> None:
    long = "{% for i in (1..3000) %}x{% endfor %}"
    assert only(faults(subject=long, text=long)).part is Part.SUBJECT


def test_what_fails_for_some_is_a_warning() -> None:
    found = only(faults(text="Hi\n{{ 100 | divided_by: custom_fields.number }}"))
    assert (found.severity, found.line) == (Severity.WARNING, 2)
    assert found.message.startswith("fails for a subscriber who gave only an address: divided_by")


def test_a_mail_without_either_part_is_an_error() -> None:
    assert only(faults()).message == "there is neither html nor text"


def test_html_that_gmail_clips_is_a_warning() -> None:
    assert faults(html=f"<p>{'x' * 101_000}</p>") == []
    found = only(faults(html=f"<p>{'é' * 52_000}</p>"))
    assert (found.part, found.severity) == (Part.HTML, Severity.WARNING)
    assert found.message == "104 KB: Gmail clips mails of more than 102 KB"


def test_mjml_is_judged_in_the_lines_of_its_source() -> None:
    source = """<mjml><mj-body><mj-section><mj-column>
        <mj-text>{{ frist_name }}</mj-text>
    </mj-column></mj-section></mj-body></mjml>"""
    assert only(faults(html=source)).line == 2


def test_mjml_that_does_not_compile_is_an_error() -> None:
    found = only(faults(html="<mjml>\n<mj-body><mj-secton></mj-secton></mj-body></mjml>"))
    assert (found.part, found.line, found.severity) == (Part.HTML, 2, Severity.ERROR)


def test_styles_that_cannot_be_inlined_are_an_error() -> None:
    html = "<style>b{" + ";".join(f"p{i}:y" for i in range(3000)) + "}</style>" + "<b>x</b>" * 3000
    assert "styles" in only(faults(html=html)).message


def test_there_are_never_more_faults_than_anybody_reads() -> None:
    found = faults(text="".join(f"{{{{ unknown{i} }}}}\n" for i in range(500)))
    assert [fault.line for fault in found] == list(range(1, 51))


@pytest.mark.parametrize(
    "source",
    [
        "{{" * 200_000,
        "{% raw %}" * 50_000,
        "{% comment %}" * 30_000,
        "{{" + " " * 400_000 + "}}",
        "{{ " + "'" * 400_000 + " }}",
        "{%" * 200_000,
        "<" * 400_000,
        "<a " * 150_000,
        "<!--" * 100_000,
        "<style>" * 60_000,
        "<a b='" * 80_000,
    ],
)
def test_no_source_takes_longer_than_its_length_allows(source: str) -> None:
    # The timeout of a test is the bound: what grows with the square would take hours.
    assert faults(html=source) is not None
    assert faults(html=f"<mjml>{source}") is not None
