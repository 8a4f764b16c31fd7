"""`mailement run` as a process: it drains on SIGTERM, and its failures are lines."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from mailement_cli.local.ports import free_port
from mailement_cli.services import ServiceName
from mailement_common.sealing import new_key
from tests.support.brands import READER, Tenant
from tests.support.bus import Bus
from tests.support.database import Database
from tests.support.processes import mailement, run_mailement


@pytest.fixture
def settings(database: Database, bus: Bus, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database.url,
        "AMQP_URL": bus.settings.amqp_url,
        "MAILEMENT_BUS_NAMESPACE": bus.settings.bus_namespace,
        "MAILEMENT_SECRET_KEYS": new_key("test"),
        "MAILEMENT_HTTP_PORT": str(free_port()),
        "MAILEMENT_OPS_PORT": str(free_port()),
        "MAILEMENT_MAIL_FOLDER": str(tmp_path / "mail"),
    }


async def _answer(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_all_services_drain_when_told_and_end_well(
    settings: dict[str, str], brand: Tenant, tmp_path: Path, number: signal.Signals
) -> None:
    url = f"http://127.0.0.1:{settings['MAILEMENT_HTTP_PORT']}"
    with mailement("run", "all", settings=settings, folder=tmp_path) as program:
        program.wait_for("service.started")
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {brand.key}"}) as session:
            status = 0
            while status != 200:
                try:
                    async with session.post(f"{url}/api/v1/subscribe", json={"email": READER}) as response:
                        status = response.status
                except aiohttp.ClientConnectionError:
                    continue
        program.tell(number)

        assert program.wait() == 0
    lines = [orjson.loads(line) for line in program.lines]
    events = [line["event"] for line in lines]
    assert events[0] == "service.started"
    assert events[-1] == "service.stopped"
    assert events.count("service.draining") == 1
    assert "request.completed" in events
    assert all({"timestamp", "level", "logger", "service"} <= set(line) for line in lines)
    assert all("." in event and " " not in event for event in events), events
    assert READER not in program.output
    assert brand.key not in program.output
    # The relay goes last and takes along what the final requests have written.
    assert await brand.events() == []


@pytest.mark.parametrize("service", [name for name in ServiceName if name is not ServiceName.API])
def test_a_port_that_is_taken_is_one_line(
    settings: dict[str, str], tmp_path: Path, service: ServiceName
) -> None:
    with mailement("run", "api", settings=settings, folder=tmp_path) as first:
        first.wait_for("service.started")
        while (
            f":{settings['MAILEMENT_OPS_PORT']}"
            not in (second := run_mailement("run", service, settings=settings, folder=tmp_path)).stderr
        ):
            continue  # the first was not listening yet

    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        f"mailement: cannot listen on 127.0.0.1:{settings['MAILEMENT_OPS_PORT']}"
    ]


def test_a_configuration_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    ran = run_mailement("run", "all", settings={"MAILEMENT_HTTP_PORT": "http"}, folder=tmp_path)

    named = {line.removeprefix("mailement: ").partition(":")[0] for line in ran.stderr.splitlines()}
    assert ran.returncode == 2
    assert named >= {
        "MAILEMENT_DATABASE_URL",
        "MAILEMENT_AMQP_URL",
        "MAILEMENT_SECRET_KEYS",
        "MAILEMENT_HTTP_PORT",
    }
    assert "Traceback" not in ran.stderr


def test_a_database_that_is_away_is_one_line(settings: dict[str, str], tmp_path: Path) -> None:
    away = {**settings, "DATABASE_URL": "postgresql://127.0.0.1:9/letters"}

    ran = run_mailement("brand", "list", settings=away, folder=tmp_path)

    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stderr.startswith("mailement: cannot connect: ")


async def test_services_start_without_servers_and_report_it(settings: dict[str, str], tmp_path: Path) -> None:
    away = {**settings, "DATABASE_URL": "postgresql://127.0.0.1:9/letters", "AMQP_URL": "amqp://127.0.0.1:9/"}
    url = f"http://127.0.0.1:{settings['MAILEMENT_OPS_PORT']}"

    with mailement("run", "all", settings=away, folder=tmp_path) as program:
        program.wait_for("service.started")
        program.wait_for("broker.unreachable")
        status, report = await _answer(f"{url}/readyz")
        alive, _ = await _answer(f"{url}/healthz")
        program.tell(signal.SIGTERM)
        assert program.wait() == 0

    assert (status, report["ready"], alive) == (503, False, 200)
    assert report["checks"]["database"]["ok"] is False
    assert "Traceback" not in program.output
