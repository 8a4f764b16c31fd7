from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.policy import default
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from mailement_common.health import Health
from mailement_common.settings import ConfigurationFaults, load
from mailement_mailer import Mailer, MailerSettings
from mailement_mailer.providers.port import Failed, RetryLater, Uncertain
from tests.support.database import Database
from tests.support.ledger import (
    Ledger,
    ScriptedProvider,
    SetClock,
    a_mailroom,
    new_ledger,
    running,
    until,
    until_finished,
)
from tests.support.mails import KEYS


@pytest.fixture
async def ledger(database: Database) -> Ledger:
    return await new_ledger(database.pool, html="<p>Hi {{ first_name }}</p>")


@pytest.fixture
def settings(database: Database, tmp_path: Path, unused_port: int) -> MailerSettings:
    """With a broker that is not there: the ledger is polled all the same."""
    return load(
        MailerSettings,
        {
            "database_url": database.url,
            "amqp_url": f"amqp://127.0.0.1:{unused_port}/",
            "secret_keys": KEYS,
            "mail_folder": tmp_path / "mail",
            "mailer_concurrency": 3,
        },
    )


@pytest.fixture
async def mailer(settings: MailerSettings) -> AsyncIterator[Mailer]:
    mailer = Mailer(settings)
    stop = asyncio.Event()
    running = asyncio.create_task(mailer.run(stop))
    yield mailer
    stop.set()
    async with asyncio.timeout(15):
        await running


async def test_a_message_becomes_a_file_without_a_broker(
    ledger: Ledger, mailer: Mailer, settings: MailerSettings
) -> None:
    message = await ledger.message(await ledger.subscriber(), key="drip:1:1")
    await until_finished(ledger, [message])
    mail = message_from_bytes((settings.mail_folder / "drip.1.1.eml").read_bytes(), policy=default)
    assert mail["To"] == "ada@example.org"
    assert mail["Subject"] == "Welcome ada"
    assert mail["List-Unsubscribe"].startswith("<http://127.0.0.1:8080/unsubscribe/")
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]


async def test_readiness_needs_the_database_and_its_schema_only(ledger: Ledger, mailer: Mailer) -> None:
    checks = mailer.checks()
    assert {name for name, check in checks.items() if check.required} == {"database", "schema"}

    async def ready() -> bool:
        return all([(await check.run()).ok for check in checks.values() if check.required])

    await until(ready, what="the mailer is ready")
    assert not (await checks["broker"].run()).ok
    assert (await checks["provider"].run()).ok


async def test_checks_can_be_asked_before_the_start(settings: MailerSettings) -> None:
    ready, report = await Health(checks=dict(Mailer(settings).checks())).readiness()
    assert not ready
    assert report["database"] == {"ok": False, "required": True, "detail": "InterfaceError"}


async def test_a_damaged_key_ring_is_a_fault_of_its_setting(settings: MailerSettings) -> None:
    broken = load(MailerSettings, {**settings.model_dump(), "secret_keys": "nothing"})
    with pytest.raises(ConfigurationFaults, match="MAILEMENT_SECRET_KEYS"):
        Mailer(broken)


async def test_a_stop_while_the_database_is_away_is_obeyed(
    settings: MailerSettings, unused_port: int
) -> None:
    away = load(
        MailerSettings, {**settings.model_dump(), "database_url": f"postgresql://127.0.0.1:{unused_port}/x"}
    )
    stop = asyncio.Event()
    running = asyncio.create_task(Mailer(away).run(stop))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(15):
        await running


async def test_each_deed_is_one_line_without_addresses(ledger: Ledger) -> None:
    outcomes = {
        "message.sent": ScriptedProvider().outcome,
        "message.failed": Failed(reason="550 no such user"),
        "message.uncertain": Uncertain(reason="no answer"),
        "message.retry_scheduled": RetryLater(reason="451 later"),
    }
    gone = await ledger.message(await ledger.subscriber("gone", status="unsubscribed"))
    with capture_logs() as lines:
        for event, outcome in outcomes.items():
            provider = ScriptedProvider(outcome=outcome)
            await ledger.message(await ledger.subscriber(event))
            async with running(a_mailroom(ledger.pool, provider, SetClock())):
                await until(partial(_told, lines, event), what=event)
    deeds = [line for line in lines if line["event"].startswith("message.")]
    assert [line["event"] for line in deeds] == ["message.cancelled", *outcomes]
    assert deeds[0]["message_id"] == gone
    assert deeds[0]["reason"] == "subscriber_unsubscribed"
    for line in deeds[1:]:
        assert {
            "message_id",
            "brand_id",
            "subscriber_id",
            "attempt",
            "duration_ms",
            "provider",
        } <= line.keys()
    assert "example.org" not in str(lines)


async def test_what_became_of_mails_is_counted(ledger: Ledger) -> None:
    def counted(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    sent, lags = (
        counted("mailement_messages_total", outcome="sent"),
        counted("mailement_message_lag_seconds_count"),
    )
    messages = await ledger.messages(3)
    async with running(a_mailroom(ledger.pool, ScriptedProvider(), SetClock())):
        await until_finished(ledger, messages)
    assert counted("mailement_messages_total", outcome="sent") == sent + 3
    assert counted("mailement_message_lag_seconds_count") == lags + 3
    assert counted("mailement_message_send_seconds_count") >= 3


async def _told(lines: list[Any], event: str) -> bool:
    return any(line["event"] == event for line in lines)
