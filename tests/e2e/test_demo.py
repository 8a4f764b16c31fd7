"""`mailement demo` as a process, against the servers under test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailement_cli.local.folders import FolderLock
from mailement_cli.local.ports import free_port
from tests.support.bus import Bus
from tests.support.database import Database
from tests.support.processes import run_mailement


@pytest.fixture
def settings(database: Database, bus: Bus) -> dict[str, str]:
    return {
        "DATABASE_URL": database.url,
        "AMQP_URL": bus.settings.amqp_url,
        "MAILEMENT_BUS_NAMESPACE": bus.settings.bus_namespace,
    }


async def test_it_prints_what_happened_when_and_ends_well(
    settings: dict[str, str], database: Database, tmp_path: Path
) -> None:
    run_mailement("demo", settings=settings, folder=tmp_path)
    ran = run_mailement("demo", settings=settings, folder=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout

    timeline = re.findall(r"^ *(\d+\.\d) ms  (.+)$", ran.stdout, re.MULTILINE)
    moments = [float(moment) for moment, _ in timeline]
    told = [text for _, text in timeline]
    assert moments == sorted(moments)
    assert told[0] == "POST /api/v1/subscribe"
    assert told[1].startswith("200 ")
    assert set(told[2:4]) == {
        "webhook subscriber.confirmed, signature verified",
        "mail to reader@example.com: Welcome to The Demo Letter, Maria",
    }
    assert told[4] == "POST /api/v1/subscribers/unsubscribe"
    assert told[6] == "webhook subscriber.unsubscribed, signature verified"
    assert ran.stdout.splitlines()[-1].startswith("everything arrived")
    assert await database.pool.fetchval("SELECT count(*) FROM brands WHERE deleted_at IS NULL") == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"MAILEMENT_WEBHOOK_ALLOW_CIDRS": "10.0.0.0/8"}, "127.0.0.1"),
        ({"MAILEMENT_SECRET_KEYS": "k:short"}, "MAILEMENT_SECRET_KEYS"),
        ({"MAILEMENT_MAIL_FROM": "nobody"}, "MAILEMENT_MAIL_FROM"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:9/letters"}, "cannot connect"),
        ({"AMQP_URL": "amqp://127.0.0.1:9/"}, "cannot connect"),
    ],
)
def test_what_stands_in_the_way_is_told(
    settings: dict[str, str], tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    ran = run_mailement("demo", settings={**settings, **change}, folder=tmp_path)

    assert ran.returncode in (1, 2)
    assert reason in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "everything arrived" not in ran.stdout


def test_a_mail_that_does_not_arrive_is_told(settings: dict[str, str], tmp_path: Path) -> None:
    ran = run_mailement("demo", settings={**settings, "MAILEMENT_MAIL_PROVIDER": "file"}, folder=tmp_path)

    assert ran.returncode == 1
    assert ran.stderr.splitlines() == ["mailement: not there after 20 s: the welcome mail"]


def test_a_folder_that_another_process_has_is_told(settings: dict[str, str], tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / ".local" / "demo")
    lock.take()

    ran = run_mailement("demo", settings=settings, folder=tmp_path)
    lock.release()

    assert ran.returncode == 1
    assert "which still runs" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_an_api_that_is_not_there_is_told(settings: dict[str, str], tmp_path: Path) -> None:
    words = (
        "demo",
        "--api",
        "http://127.0.0.1:9",
        "--webhook-port",
        str(free_port()),
        "--smtp-port",
        str(free_port()),
    )
    more = {"MAILEMENT_SECRET_KEYS": "k:" + "A" * 43 + "=", "MAILEMENT_WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8"}

    ran = run_mailement(*words, settings={**settings, **more}, folder=tmp_path)

    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
