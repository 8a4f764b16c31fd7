"""What somebody may have meant who wrote a name that there is not."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

_LIKENESS: Final = 0.65
_LONGEST_NAME: Final = 100
_MOST_NAMES: Final = 500


def meant(name: str, known: Collection[str]) -> str:
    """`; did you mean first_name?`, or nothing. Long names and long lists are not searched: that takes its time."""
    if len(name) > _LONGEST_NAME or len(known) > _MOST_NAMES:
        return ""
    closest = get_close_matches(name, known, n=1, cutoff=_LIKENESS)
    return f"; did you mean {closest[0]}?" if closest else ""
