from __future__ import annotations

import orjson
import pytest

from mailement_cli.pages import Page, full_page, show_page


async def _in_twos(limit: int, cursor: int | None) -> Page[int, int]:
    """The even ones below ten. Every page looks at two numbers, however many are asked for."""
    begin = cursor or 0
    found = [number for number in (begin, begin + 1) if number % 2 == 0][:limit]
    return found, begin + 2 if begin + 2 < 10 else None


async def test_a_page_is_filled_though_what_is_wanted_lies_far_apart() -> None:
    assert await full_page(_in_twos, limit=3, cursor=None) == ([0, 2, 4], 6)
    assert await full_page(_in_twos, limit=3, cursor=6) == ([6, 8], None)


def test_the_way_to_the_next_page_stands_beside_the_list_and_not_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_page(([{"id": 1}], 7), as_json=True, columns=("id",))

    shown = capsys.readouterr()
    assert orjson.loads(shown.out) == [{"id": 1}]
    assert shown.err == "there are more: --cursor 7\n"


def test_the_last_page_leads_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    show_page(([{"id": 1}], None), as_json=False, columns=("id",))

    assert capsys.readouterr().err == ""
