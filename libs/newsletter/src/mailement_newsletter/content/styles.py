"""Style sheets written into the elements that they speak of, for the mail programs that read no style sheets."""

from __future__ import annotations

import re
from typing import Final

from css_inline import CSSInliner

from mailement_newsletter.content.native import asked
from mailement_newsletter.content.sandbox import TemplateFault

_HTML_CHARACTERS: Final = 1_000_000
# Up to here the ordinary stack of a thread is deep enough for elements that are all nested.
_FEW_ELEMENTS: Final = 1_000
# The inliner cannot be stopped, so what it will cost is judged before. It compares each declaration with those that an
# element has already: its time grows with the square of their number. Some selectors look at all other elements.
# A big newsletter has 300 declarations for 1,000 elements.
_MOST_COMPARISONS: Final = 1_000_000_000
_MOST_WRITTEN: Final = 100_000_000
# And it opens formatting elements that were not closed again in each block behind them (HTML, 13.2.4.3).
_MOST_REOPENED: Final = 1_000_000

_STYLE: Final = re.compile(r"<style[\s/>].*?(?:</style|\Z)", re.IGNORECASE | re.DOTALL)
# What looks at the neighbours of an element, or at all that is in it.
_FORMATTING: Final = re.compile(
    r"<(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])[^>]*", re.IGNORECASE
)
_FAR_SIGHTED: Final = re.compile(r"~|:nth|:has|:last|:only", re.IGNORECASE)

# What cannot be written into an element stays in the sheet: media queries, :hover, what a mail program adds itself.
_INLINER: Final = CSSInliner(
    load_remote_stylesheets=False, keep_style_tags=True, keep_link_tags=True, remove_inlined_selectors=True
)


def inlined(html: str) -> str:
    """The same mail if it has no style sheet. Raises TemplateFault."""
    if _STYLE.search(html) is None:
        return html
    _refuse_costly(html)
    result = asked("styles", _INLINER.inline, html, few=_FEW_ELEMENTS)
    if len(result) > _HTML_CHARACTERS:
        raise TemplateFault(f"styles: they make more than {_HTML_CHARACTERS} characters of the mail")
    return result


def _refuse_costly(html: str) -> None:
    tags = html.count("<")
    sheets = "".join(_STYLE.findall(html))
    declarations = sheets.count(":")
    comparisons = declarations**2 * tags + len(_FAR_SIGHTED.findall(sheets)) * tags**2
    if comparisons > _MOST_COMPARISONS or len(sheets) * tags > _MOST_WRITTEN:
        raise TemplateFault("styles: too many for a mail of this size")
    # Three at the most that are all the same.
    if len(set(_FORMATTING.findall(html))) * 3 * tags > _MOST_REOPENED:
        raise TemplateFault("styles: too many different formatting elements for a mail of this size")
