"""The frame of every page that the api shows: plain, accessible, light and dark, nothing from outside."""

from __future__ import annotations

from html import escape
from typing import Final

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--soft:#f3f4f6;--line:#d7dae0;--mark:#0b57d0}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--paper:#14171a;--soft:#1e2328;--line:#363c44;--mark:#8ab4f8}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:56rem;padding:2rem 1.25rem 4rem;background:var(--paper);color:var(--ink);
font:16px/1.6 system-ui,sans-serif}
h1{font-size:1.75rem;line-height:1.25}h2{margin-top:3rem;font-size:1.25rem;border-top:1px solid var(--line);padding-top:1.5rem}
h3{font-size:1rem;margin-bottom:.25rem}a{color:var(--mark)}
code,pre{font:14px/1.5 ui-monospace,monospace;background:var(--soft);border-radius:6px}code{padding:.1em .35em}
pre{padding:1rem;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.95rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--line)}
button{font:inherit;padding:.7rem 1.4rem;border:0;border-radius:8px;background:var(--mark);color:var(--paper);cursor:pointer}
.method{color:var(--mark);font-weight:600}
"""


def page(title: str, body: str) -> str:
    """`body` is HTML that the caller has escaped; `title` is text."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )
