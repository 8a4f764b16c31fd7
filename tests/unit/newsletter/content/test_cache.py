"""What was made of a source is made once, while there is room."""

from __future__ import annotations

import pytest

from mailement_newsletter.content.cache import SourceCache


def counted(characters: int) -> tuple[SourceCache[str], list[str]]:
    made: list[str] = []

    def make(source: str) -> str:
        made.append(source)
        return source.upper()

    return SourceCache(make, characters=characters), made


def test_a_source_is_made_once() -> None:
    cache, made = counted(10_000)
    assert [cache("a"), cache("b"), cache("a")] == ["A", "B", "A"]
    assert made == ["a", "b"]


def test_the_least_recently_used_goes_first() -> None:
    cache, made = counted(1_000)
    first, second, third = "a" * 200, "b" * 200, "c" * 200
    for source in (first, second, first, third, first, second):
        cache(source)
    assert made == [first, second, third, second]


def test_a_source_larger_than_the_room_is_not_kept_and_leaves_the_room_whole() -> None:
    cache, made = counted(1_000)
    cache("x" * 5_000)
    cache("x" * 5_000)
    cache("a")
    cache("a")
    assert [len(source) for source in made] == [5_000, 5_000, 1]


def test_a_failure_is_not_kept() -> None:
    tries: list[str] = []

    def make(source: str) -> str:
        tries.append(source)
        raise ValueError(source)

    cache = SourceCache(make, characters=1_000)
    for _ in range(2):
        with pytest.raises(ValueError, match="a"):
            cache("a")
    assert tries == ["a", "a"]
