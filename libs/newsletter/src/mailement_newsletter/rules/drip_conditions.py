"""What a condition asks: as people write it (topics by slug, steps by label) and as it is stored (both by id).

{all: [C, …]}   {any: [C, …]}   {not: C}   {always: true}   {topic: slug}   {opened: label}   {clicked: label}
{field: key, exists | is | is_not | in | contains | above | below: …}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mailement_newsletter.ids import StepId, TopicId
from mailement_newsletter.rules import names
from mailement_newsletter.rules.drip_reading import (
    Faults,
    Fields,
    Place,
    content,
    flag,
    is_list,
    line,
    number,
    scalar,
    several,
)

# As stored and as written: a mapping of JSON values.
Condition = Mapping[str, Any]

# What a condition may ask of without the brand having defined it.
OWN_FIELDS: Final = frozenset({"email", "first_name", "last_name", "city", "source"})

_MOST_PARTS: Final = 50
_DEEPEST: Final = 10
_KINDS: Final = ("all", "any", "not", "always", "topic", "opened", "clicked", "field")
_OPERATORS: Final = ("exists", "is", "is_not", "in", "contains", "above", "below")


def read_condition(faults: Faults, value: object, at: Place) -> Condition | None:
    """None where anything of it is wrong."""
    before = len(faults.found)
    read = _Reader(faults).read(value, at, 1)
    return read if len(faults.found) == before else None


class _Reader:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._parts = 0

    def read(self, value: object, at: Place, depth: int) -> Condition:
        self._parts += 1
        if self._parts > _MOST_PARTS or depth > _DEEPEST:
            if self._parts == _MOST_PARTS + 1 or depth > _DEEPEST:
                self._faults.add(
                    at, f"a condition has at most {_MOST_PARTS} parts, and at most {_DEEPEST} in each other"
                )
            return {}
        fields = Fields(self._faults, value, at)
        kinds = fields.keys_among(*_KINDS)
        if not fields.is_mapping:
            return {}
        if len(kinds) != 1:
            self._faults.add(at, f"a condition asks for one of {', '.join(_KINDS)}")
            return {}
        found = self._of_kind(kinds[0], fields, (*at, kinds[0]), depth)
        fields.end()
        return found

    def _of_kind(self, kind: str, fields: Fields, at: Place, depth: int) -> Condition:
        match kind:
            case "all" | "any":
                return {kind: self._parts_of(fields.raw(kind), at, depth)}
            case "not":
                return {"not": self.read(fields.raw("not"), at, depth + 1)}
            case "always":
                if fields.read("always", flag) is False:
                    self._faults.add(at, "this is true, or it is left out")
                return {"always": True}
            case "topic":
                return {"topic": fields.read("topic", line(names.MAX_TOPIC_SLUG))}
            case "field":
                return self._of_field(fields, at[:-1])
            case _:
                return {kind: fields.read(kind, line(60))}

    def _parts_of(self, value: object, at: Place, depth: int) -> list[Condition]:
        if not is_list(value) or not value:
            self._faults.add(at, "this is a list of conditions")
            return []
        # Beyond what is allowed there is nothing more to say.
        return [
            self.read(part, (*at, index), depth + 1) for index, part in enumerate(value[: _MOST_PARTS + 1])
        ]

    def _of_field(self, fields: Fields, at: Place) -> Condition:
        key = fields.read("field", line(100))
        operators = fields.keys_among(*_OPERATORS)
        if len(operators) != 1:
            self._faults.add(at, f"a field is compared by one of {', '.join(_OPERATORS)}")
            for operator in operators:
                fields.raw(operator)
            return {}
        (operator,) = operators
        match operator:
            case "exists":
                value: object = fields.read(operator, flag)
            case "in":
                value = list(fields.read(operator, several(scalar, 100)) or ())
            case "contains":
                value = fields.read(operator, content(1_000))
            case "above" | "below":
                value = fields.read(operator, number)
            case _:
                value = fields.read(operator, scalar)
        return {"field": key, operator: value}


def parts(condition: Condition, at: Place) -> Iterator[tuple[Condition, Place]]:
    """The condition and all that it is made of, each with its place."""
    yield condition, at
    for kind in ("all", "any"):
        for index, inner in enumerate(condition.get(kind, ())):
            yield from parts(inner, (*at, kind, index))
    if "not" in condition:
        yield from parts(condition["not"], (*at, "not"))


def stored(condition: Condition, topics: Mapping[str, TopicId], steps: Mapping[str, StepId]) -> Condition:
    """With ids in place of slugs and labels. KeyError: one of them is not there."""
    return _translated(
        condition,
        lambda kind, value: (
            ("topic_id", topics[value])
            if kind == "topic"
            else (kind, steps[value] if kind in _OF_STEPS else value)
        ),
    )


def written(condition: Condition, topics: Mapping[TopicId, str], steps: Mapping[StepId, str]) -> Condition:
    """With slugs and labels in place of ids; what is gone keeps its number."""
    return _translated(
        condition,
        lambda kind, value: (
            ("topic", topics.get(value, str(value)))
            if kind == "topic_id"
            else (kind, steps.get(value, f"step-{value}") if kind in _OF_STEPS else value)
        ),
    )


_OF_STEPS: Final = frozenset({"opened", "clicked"})


def _translated(condition: Condition, leaf: Callable[[str, Any], tuple[str, Any]]) -> Condition:
    for kind in ("all", "any"):
        if kind in condition:
            return {kind: [_translated(inner, leaf) for inner in condition[kind]]}
    if "not" in condition:
        return {"not": _translated(condition["not"], leaf)}
    return dict(leaf(kind, value) for kind, value in condition.items())
