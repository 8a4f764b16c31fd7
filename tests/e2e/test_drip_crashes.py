"""Schedulers and mailers, killed in turns in the middle of two thousand enrolments: every step is one mail.

Through a provider that knows keys each arrives exactly once. Through SMTP none arrives twice, and those that did not arrive
are shown as uncertain. And services that were away over a thousand due steps make up for them one at a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from mailement_common.sealing import new_key
from tests.support.brands import Tenant
from tests.support.bus import Bus
from tests.support.database import Database
from tests.support.drips import Series, mail
from tests.support.fake_resend import API_KEY, fake_resend
from tests.support.processes import Program
from tests.support.smtp_sink import smtp_sink

pytestmark = pytest.mark.timeout(400)

_KILLS = 25
_READERS = 2000
_AWAY = 1000
_STEPS = ("first", "second")
_DEADLINE_SECONDS = 240
_SERVICES = ("drip-scheduler", "mailer")


@dataclass(slots=True, kw_only=True)
class Service:
    """`mailement run <name>`, with one life after the other."""

    name: str
    settings: Mapping[str, str]
    folder: Path
    life: Program | None = None

    def start(self) -> None:
        self.life = Program(["run", self.name], self.settings, self.folder)

    def kill(self) -> None:
        """By SIGKILL, in the middle of whatever it does."""
        if self.life is not None:
            self.life.kill()


@pytest.fixture
def services(database: Database, bus: Bus, tmp_path: Path) -> Iterator[Callable[..., list[Service]]]:
    """Makes services for a provider's settings; at the end none of them runs any more."""
    made: list[Service] = []

    def make(names: Sequence[str] = _SERVICES, **provider: str) -> list[Service]:
        settings = {
            "DATABASE_URL": database.url,
            "AMQP_URL": bus.settings.amqp_url,
            "MAILEMENT_BUS_NAMESPACE": bus.settings.bus_namespace,
            "MAILEMENT_SECRET_KEYS": new_key("crashes"),
            "MAILEMENT_PUBLIC_URL": "https://news.example",
            "MAILEMENT_MAIL_FROM": "News <news@example.org>",
            "MAILEMENT_OPS_PORT": "0",
            "MAILEMENT_DRIP_BATCH": "50",
            **provider,
        }
        made.extend(Service(name=name, settings=settings, folder=tmp_path) for name in names)
        return made

    yield make
    for service in made:
        service.kill()


async def _enrol(brand: Tenant, readers: int) -> Series:
    """So many readers in a drip whose steps follow each other at once; nothing is due before `_begin`."""
    series = await Series.create(brand, *(mail(subject) for subject in _STEPS))
    await brand.pool.execute(
        """
        WITH made AS (
            INSERT INTO subscribers (brand_id, email, email_key, status)
            SELECT $1, a, a, 'confirmed' FROM generate_series(1, $3::int) AS n, format('reader%s@example.com', n) AS a
            RETURNING id
        )

        INSERT INTO drip_enrollments (drip_id, brand_id, subscriber_id, anchor_at, next_run_at, enrolled_at)
        SELECT $2, $1, m.id, now(), now() + interval '1 day', now() FROM made AS m
        """,
        brand.id,
        series.id,
        readers,
    )
    return series


async def _begin(brand: Tenant, *, share: int, of: int) -> None:
    """The next part of the readers is due now."""
    await brand.pool.execute(
        "UPDATE drip_enrollments SET next_run_at = now() WHERE cursor_pos = 0 AND id % $2 = $1", share, of
    )


async def _kill_in_turns(brand: Tenant, services: Sequence[Service]) -> None:
    """Each kill comes while the victim has work: a new part of the readers was due a moment before."""
    for number in range(_KILLS):
        victim = services[number % len(services)]
        before = await _progress(brand)
        await _begin(brand, share=number, of=_KILLS)

        async def moved(before: tuple[int, int] = before) -> bool:
            return await _progress(brand) > before

        await _until(moved, f"something moves before kill {number + 1}")
        await asyncio.to_thread(victim.kill)
        victim.start()


async def _progress(brand: Tenant) -> tuple[int, int]:
    row = await brand.pool.fetchrow(
        "SELECT count(*) FILTER (WHERE finished_at IS NOT NULL) AS finished, count(*) AS made FROM messages"
    )
    assert row is not None
    return row["finished"], row["made"]


async def _until_all_is_settled(brand: Tenant, mails: int) -> None:
    async def settled() -> bool:
        return await _progress(brand) == (mails, mails)

    await _until(settled, f"{mails} mails have come to an end")


async def _until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"did not happen within {_DEADLINE_SECONDS} s: {what}") from None


async def _addressed(brand: Tenant, state: str) -> set[tuple[str, str]]:
    """Who got which step, of the mails in this state."""
    rows = await brand.pool.fetch(
        """SELECT s.email, t.subject FROM messages AS m
        INNER JOIN subscribers AS s ON m.subscriber_id = s.id
        INNER JOIN drip_steps AS t ON m.drip_step_id = t.id WHERE m.state = $1""",
        state,
    )
    return {(row["email"], row["subject"]) for row in rows}


def _everything(readers: int) -> set[tuple[str, str]]:
    return {(f"reader{number}@example.com", step) for number in range(1, readers + 1) for step in _STEPS}


async def test_twenty_five_kills_send_each_step_exactly_once_where_keys_are_known(
    brand: Tenant, services: Callable[..., list[Service]]
) -> None:
    await _enrol(brand, _READERS)
    async with fake_resend() as resend:
        running = services(
            MAILEMENT_MAIL_PROVIDER="resend",
            MAILEMENT_RESEND_URL=resend.url,
            MAILEMENT_RESEND_API_KEY=API_KEY,
        )
        for service in running:
            service.start()
        await _kill_in_turns(brand, running)
        await _until_all_is_settled(brand, _READERS * len(_STEPS))
        received = Counter((each["to"][0], each["subject"]) for each in resend.mails)
    assert received == Counter(_everything(_READERS))
    assert await _addressed(brand, "sent") == _everything(_READERS)
    assert {run["state"] for run in await brand.enrollments()} == {"completed"}


async def test_twenty_five_kills_send_nothing_twice_by_smtp_and_lose_nothing_that_is_not_shown(
    brand: Tenant, services: Callable[..., list[Service]]
) -> None:
    await _enrol(brand, _READERS)
    async with smtp_sink() as sink:
        running = services(
            MAILEMENT_MAIL_PROVIDER="smtp",
            MAILEMENT_SMTP_HOST="127.0.0.1",
            MAILEMENT_SMTP_PORT=str(sink.port),
            MAILEMENT_SMTP_TLS="none",
        )
        for service in running:
            service.start()
        await _kill_in_turns(brand, running)
        await _until_all_is_settled(brand, _READERS * len(_STEPS))
        received = Counter((each.rcpt_tos[0], _subject(each.content)) for each in sink.mails)
    assert max(received.values()) == 1
    uncertain = await _addressed(brand, "uncertain")
    assert _everything(_READERS) - received.keys() <= uncertain
    assert await _addressed(brand, "sent") == _everything(_READERS) - uncertain
    assert await _addressed(brand, "sent") <= received.keys()


def _subject(content: bytes | str | None) -> str:
    assert isinstance(content, bytes)
    return next(
        line.removeprefix(b"Subject: ").decode()
        for line in content.splitlines()
        if line.startswith(b"Subject: ")
    )


async def test_services_that_were_away_give_everybody_the_right_step_once(
    brand: Tenant, services: Callable[..., list[Service]], tmp_path: Path
) -> None:
    """Each reader has missed his first step by a day, and both steps are due by then as the clock goes."""
    series = await _enrol(brand, _AWAY)
    await series.set_step(1, delay=timedelta(hours=12))
    await brand.pool.execute(
        """UPDATE drip_enrollments SET
        anchor_at = now() - interval '1 day', enrolled_at = now() - interval '1 day', next_run_at = now() - interval '1 day'"""
    )
    running = services(MAILEMENT_MAIL_PROVIDER="file", MAILEMENT_MAIL_FOLDER=str(tmp_path / "mail"))
    for service in running:
        service.start()
    await _until_all_is_settled(brand, _AWAY)
    assert await _addressed(brand, "sent") == {pair for pair in _everything(_AWAY) if pair[1] == "first"}
    assert len(list((tmp_path / "mail").glob("*.eml"))) == _AWAY
    waiting = await brand.pool.fetchrow(
        "SELECT min(next_run_at - anchor_at) AS shortest, min(next_run_at) > now() AS later FROM drip_enrollments"
    )
    assert waiting is not None
    assert (waiting["shortest"], waiting["later"]) == (timedelta(hours=12), True)
