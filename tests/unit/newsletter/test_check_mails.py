from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from typing_extensions import override

from mailement_api.dialects.mailement.errors import translate
from mailement_api.dialects.mailement.responses import Family, failure
from mailement_common.ids import BrandId
from mailement_newsletter.errors import TooBusy
from mailement_newsletter.rules.drip_definition import Send
from mailement_newsletter.usecases.check_mails import check_mails

BRAND: Final = BrandId(1)
# Some ten milliseconds.
_SLOW: Final = "{% for n in (1..5000) %}{{ n | plus: 1 | times: 2 | minus: 3 }}{% endfor %}"


class _Held(list[tuple[int, Send]]):
    """Mails that take as long as a test wants."""

    def __init__(self) -> None:
        super().__init__(_mails("Hello."))
        self.let_go = threading.Event()
        self.is_begun = False

    @override
    def __iter__(self) -> Iterator[tuple[int, Send]]:
        self.is_begun = True
        assert self.let_go.wait(20)
        return super().__iter__()


def _mails(*texts: str) -> list[tuple[int, Send]]:
    return [(number, Send(subject="Hello", text=text)) for number, text in enumerate(texts)]


async def test_faults_of_mails_have_their_place() -> None:
    found = await check_mails(BRAND, _mails("Hello.", "{{ nobody }}"), frozenset())
    assert [fault.at for fault in found.errors] == ["steps.1.text"]


async def test_mails_that_cost_too_much_together_are_refused_at_the_first_that_is_too_much() -> None:
    found = await check_mails(
        BRAND, _mails(*(f"{number} {_SLOW}" for number in range(50))), frozenset(), seconds=0.02
    )
    (fault,) = found.errors
    assert fault.at.startswith("steps.")
    assert fault.at != "steps.49"
    assert "too costly" in fault.message


async def test_after_very_many_errors_no_more_mails_are_looked_at() -> None:
    found = await check_mails(BRAND, _mails(*["{{ nobody }}"] * 200), frozenset())
    assert len(found.errors) == 50


async def test_at_most_two_checks_run_at_a_time() -> None:
    await asyncio.gather(
        *(check_mails(BrandId(number), _mails(f"{number} {_SLOW}"), frozenset()) for number in range(6))
    )
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("check-mails")]
    assert len(names) == 2


@asynccontextmanager
async def _under_way(*brands: BrandId) -> AsyncIterator[None]:
    """Each of them has a check that goes on until the block ends."""
    held = [_Held() for _ in brands]
    checks = [
        asyncio.create_task(check_mails(brand, mails, frozenset()))
        for brand, mails in zip(brands, held, strict=True)
    ]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for mails in held:
            mails.let_go.set()
        await asyncio.wait_for(asyncio.gather(*checks), 10)


async def test_whoever_would_wait_too_long_for_his_turn_is_told_to_come_back() -> None:
    async with _under_way(BrandId(1), BrandId(2)):
        with pytest.raises(TooBusy):
            await check_mails(BrandId(3), _mails("Hello."), frozenset(), patience=0.01)
    assert (await check_mails(BrandId(3), _mails("Hello."), frozenset())).errors == []


async def test_a_check_that_nobody_waits_for_any_more_is_not_begun() -> None:
    mails = _Held()
    async with _under_way(BrandId(1), BrandId(2)):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await check_mails(BrandId(3), mails, frozenset())
    assert (await asyncio.wait_for(check_mails(BrandId(3), _mails("Hello."), frozenset()), 10)).errors == []
    assert not mails.is_begun


async def test_waiting_for_a_turn_is_not_taken_from_the_time_for_rendering() -> None:
    async with _under_way(BrandId(1), BrandId(2)):
        late = asyncio.create_task(check_mails(BrandId(3), _mails("Hello."), frozenset(), seconds=0.05))
        done, _ = await asyncio.wait([late], timeout=0.1)
        assert not done
    assert (await late).errors == []


async def test_a_brand_that_saves_much_at_once_leaves_a_thread_to_others() -> None:
    async with _under_way(BRAND):
        others = [asyncio.create_task(check_mails(BRAND, _mails(f"{n}"), frozenset())) for n in range(3)]
        assert (
            await asyncio.wait_for(check_mails(BrandId(2), _mails("Hello."), frozenset()), 10)
        ).errors == []
        assert not any(other.done() for other in others)
        with pytest.raises(TooBusy):
            await check_mails(BRAND, _mails("Hello."), frozenset(), patience=0.01)
    assert [found.errors for found in await asyncio.wait_for(asyncio.gather(*others), 10)] == [[], [], []]


async def test_what_has_no_new_mails_waits_for_nobody() -> None:
    async with _under_way(BrandId(1), BrandId(2)):
        assert (await check_mails(BrandId(3), [], frozenset(), patience=0)).errors == []


async def test_the_api_says_busy_and_when_to_come_back() -> None:
    answer = failure(translate(TooBusy()), Family.SUCCESS, cors=False)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert b'"error":"too_busy"' in answer.body
