"""The names that a mail may speak of, and what they stand for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from mailement_newsletter.content.spelling import meant

# A number, a day of the month and a text, so that any filter finds what it can work with.
_SAMPLE: Final = "7"
_SAMPLE_LINK: Final = "https://news.example/unsubscribe/" + "A" * 32
# What Liquid itself knows of texts and lists.
_OF_ANY_VALUE: Final = frozenset({"size", "first", "last"})


def merge_fields(
    *,
    person: Mapping[str, str | None],
    custom_fields: Mapping[str, Any],
    subscriber_id: int,
    brand: Mapping[str, str],
    unsubscribe_url: str,
) -> dict[str, object]:
    """`person`: email, first_name, last_name, city; `brand`: name, slug."""
    named = {**person, "custom_fields": dict(custom_fields)}
    return {
        **named,
        "subscriber": {**named, "id": subscriber_id},
        "brand": dict(brand),
        "unsubscribe_url": unsubscribe_url,
    }


def sample_values(fields: Collection[str]) -> dict[str, object]:
    """Of a subscriber who told everything that a brand with these custom fields wants to know."""
    return merge_fields(
        person={
            "email": "maria.lopez@example.com",
            "first_name": "Maria",
            "last_name": "López",
            "city": "Sevilla",
        },
        custom_fields=dict.fromkeys(fields, _SAMPLE),
        subscriber_id=1,
        brand={"name": "Sample", "slug": "sample"},
        unsubscribe_url=_SAMPLE_LINK,
    )


def bare_values() -> dict[str, object]:
    """Of a subscriber who gave nothing but an address."""
    return merge_fields(
        person={"email": "maria.lopez@example.com", "first_name": None, "last_name": None, "city": None},
        custom_fields={},
        subscriber_id=1,
        brand={"name": "Sample", "slug": "sample"},
        unsubscribe_url=_SAMPLE_LINK,
    )


def why_unknown(
    path: Sequence[object], fields: Collection[str], assigned: Collection[str] = ()
) -> str | None:
    """What is wrong with a name that is not there, and what may have been meant; None if it is known.

    `path`: the name at its dots; a part that is not a text is found out at rendering only. `assigned`: names that the
    template makes itself.
    """
    if path[0] in assigned or _is_known(path, sample_values(fields)):
        return None
    name = ".".join(str(part) for part in path if isinstance(part, str | int))
    if len(path) == 1 and name in fields:
        return f"unknown name {name}; did you mean custom_fields.{name}?"
    known = [*_flat(sample_values(fields)), *assigned]
    return f"unknown name {name}{meant(name, known)}"


def _is_known(path: Sequence[object], values: object) -> bool:
    where = values
    for depth, part in enumerate(path):
        if not isinstance(part, str):
            # An index, or a name that another value holds.
            return depth > 0
        if isinstance(where, Mapping) and part in where:
            where = where[part]
            if where == _SAMPLE:
                # A custom field may hold anything.
                return True
        else:
            return depth > 0 and part in _OF_ANY_VALUE
    return True


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
