"""Style sheets are written into elements, and what cannot be written there stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailement_newsletter.content.sandbox import TemplateFault
from mailement_newsletter.content.styles import inlined


def test_html_without_a_style_sheet_is_not_touched() -> None:
    html = "<p style=color:red>a<br>b & c<td>"
    assert inlined(html) == html


def test_rules_are_written_into_the_elements_that_they_speak_of() -> None:
    html = inlined("<style>p{color:red} .b{margin:0}</style><p>a</p><p class=b style='color:blue'>c</p>")
    assert '<p style="color: red;">a</p>' in html
    assert "color: blue" in html
    assert "color: red; color: blue" not in html


@pytest.mark.parametrize(
    "kept",
    [
        "@media (max-width:600px){ p{color:green} }",
        "@media (prefers-color-scheme: dark){ p{color:white} }",
        "a:hover { color: blue; }",
        "#outlook a { padding: 0; }",
        "@font-face{font-family:x;src:url(https://x.example/x)}",
    ],
)
def test_what_no_element_can_hold_stays_in_the_sheet(kept: str) -> None:
    html = inlined(f"<style>p{{color:red}} {kept}</style><p>a</p><a href=x>b</a>")
    assert kept in html
    assert "p {" not in html.replace(kept, "")


def test_conditional_comments_entities_and_links_stay() -> None:
    inner = '<!--[if mso]><table><tr><td><![endif]--><a href="https://x.example/?a=1&amp;b=2">ü&nbsp;</a><!--[if mso]></td></tr></table><![endif]-->'
    assert inner in inlined(
        f"<!doctype html><html><head><style>p{{}}</style></head><body>{inner}</body></html>"
    )


def test_no_style_sheet_is_fetched_from_anywhere(tmp_path: Path) -> None:
    sheet = tmp_path / "a.css"
    sheet.write_text("p{color:green}")
    links = "".join(
        f'<link rel="stylesheet" href="{place}">'
        for place in (sheet, sheet.as_uri(), "http://127.0.0.1:9/a.css")
    )
    html = inlined(f"<head>{links}<style>@import url({sheet}); p{{margin:0}}</style></head><p>a</p>")
    assert "green" not in html
    assert html.count("<link ") == 3


@pytest.mark.parametrize("css", ["}}}{{{", "p{color:red", "<!--p{color:red}-->", "@media{", "\x00", "*{"])
def test_odd_styles_are_no_reason_to_fail(css: str) -> None:
    assert "hello" in inlined(f"<style>{css}</style><p>hello</p>")


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000,
        "<svg>" + "<td>" * 100_000,
        "<b>x</b>" * 3000 + "<style>b{" + ";".join(f"p{i}:y" for i in range(3000)) + "}</style>",
        "<i>x</i>" * 5000 + "<style>" + "b ~ i{}" * 200 + "</style>",
        "".join(f"<b class=c{i}><p>" for i in range(4_000)),
        "<b>x</b>" * 900 + "<style>b{background:" + "x" * 3_000 + "}</style>",
    ],
)
def test_what_would_take_too_long_or_too_much_is_a_fault(html: str) -> None:
    with pytest.raises(TemplateFault):
        inlined(f"<style>p{{color:red}}</style>{html}")


@pytest.mark.parametrize("nested", ["<div>", "<table><td>", "<svg><td>", "<!--><div>"])
def test_deep_html_does_not_overflow_the_stack(nested: str) -> None:
    count = 9_000 // nested.count("<")
    assert "deep" in inlined(f"<style>p{{color:red}}</style>deep{nested * count}")
