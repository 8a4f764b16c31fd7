from __future__ import annotations

import asyncio
import threading
from typing import Final

import pytest

from mailement_newsletter.rules.drip_definition import Send
from mailement_newsletter.usecases.check_mails import check_mails

# Some ten milliseconds.
_SLOW: Final = "{% for n in (1..5000) %}{{ n | plus: 1 | times: 2 | minus: 3 }}{% endfor %}"


def _mails(*texts: str) -> list[tuple[int, Send]]:
    return [(number, Send(subject="Hello", text=text)) for number, text in enumerate(texts)]


async def test_faults_of_mails_have_their_place() -> None:
    found = await check_mails(_mails("Hello.", "{{ nobody }}"), frozenset())
    assert [fault.at for fault in found.errors] == ["steps.1.text"]


async def test_mails_that_cost_too_much_together_are_refused_at_the_first_that_is_too_much() -> None:
    found = await check_mails(
        _mails(*(f"{number} {_SLOW}" for number in range(50))), frozenset(), seconds=0.02
    )
    (fault,) = found.errors
    assert fault.at.startswith("steps.")
    assert fault.at != "steps.49"
    assert "too costly" in fault.message


async def test_after_very_many_errors_no_more_mails_are_looked_at() -> None:
    found = await check_mails(_mails(*["{{ nobody }}"] * 200), frozenset())
    assert len(found.errors) == 50


async def test_at_most_two_checks_run_at_a_time() -> None:
    await asyncio.gather(*(check_mails(_mails(f"{number} {_SLOW}"), frozenset()) for number in range(6)))
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("check-mails")]
    assert len(names) == 2


async def test_a_check_that_nobody_waits_for_any_more_is_not_begun() -> None:
    busy = [asyncio.create_task(check_mails(_mails(f"{number} {_SLOW}"), frozenset())) for number in (7, 8)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await check_mails(_mails(*[_SLOW] * 10_000), frozenset())
    await asyncio.wait_for(asyncio.gather(*busy), 10)
    assert (await asyncio.wait_for(check_mails(_mails("Hello."), frozenset()), 10)).errors == []
