"""`mailement dev` as a process with private servers of its own: what a stranger's first minutes are."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailement_cli.local.postgres import PrivatePostgres
from mailement_cli.local.processes import Process, ProcessRecord, is_alive
from mailement_cli.local.rabbitmq import PrivateRabbitmq
from tests.support.processes import Program, bare_environment, mailement, run_mailement

pytestmark = pytest.mark.timeout(240)

_DEADLINE_SECONDS = 30


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield from _clone(tmp_path / "clone")


@pytest.fixture
def other_folder(tmp_path: Path) -> Iterator[Path]:
    yield from _clone(tmp_path / "another clone")


def _clone(place: Path) -> Iterator[Path]:
    """A folder to run in; what was run there is gone afterwards, its data too."""
    place.mkdir()
    yield place
    run = place / ".local" / "run"
    if run.exists():
        PrivatePostgres(run / "postgres", durable=True).discard()
        PrivateRabbitmq(run / "rabbitmq").discard()


@contextmanager
def _dev(folder: Path) -> Iterator[tuple[Program, str]]:
    """Runs until the block ends; hands out the sign-up that it prints."""
    with mailement("dev", settings={}, folder=folder) as program:
        program.wait_for("Look around with", seconds=120)
        printed = re.search(r"^  curl (?:.*\\\n)*.*$", program.output, re.MULTILINE)
        assert printed is not None, program.output
        yield program, printed[0]


@contextmanager
def _ignoring_sigint() -> Iterator[None]:
    """What starts within the block inherits it."""
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)


def _servers(folder: Path) -> list[Process]:
    """The servers of this folder that run, as they were noted down."""
    return [
        process
        for name in ("postgres", "rabbitmq")
        for process in ProcessRecord(path=folder / ".local" / "run" / name / "running.json").left_over()
    ]


def _paste(command: str) -> str:
    """Types it into a shell."""
    ran = subprocess.run(
        ["/bin/sh", "-c", command], check=True, capture_output=True, text=True, env=bare_environment({})
    )
    return ran.stdout


def _wait_for_file(folder: Path, pattern: str) -> Path:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not (found := sorted(folder.glob(pattern))):
        assert time.monotonic() < deadline, f"no {pattern} in {folder}"
        time.sleep(0.02)
    return found[-1]


def test_it_runs_again_and_again_and_leaves_nothing(folder: Path, other_folder: Path) -> None:
    with _dev(folder) as (program, sign_up):
        assert '"ok":true' in _paste(sign_up)
        mail = _wait_for_file(folder / ".local" / "mail", "*.eml")
        webhook = _wait_for_file(folder / ".local" / "webhooks", "*subscriber.confirmed.json")
        first_servers = _servers(folder)
        assert len(first_servers) == 3

        again = run_mailement("dev", settings={}, folder=folder)
        assert again.returncode == 1
        assert f"process {program.pid}" in again.stderr

        program.tell(signal.SIGINT)
        assert program.wait() == 0
    assert "reader@example.com" in mail.read_text()
    assert '"subscriber.confirmed"' in webhook.read_text()
    assert "Traceback" not in program.output
    assert not any(is_alive(server) for server in first_servers)
    assert not (folder / ".local" / "run" / "env").exists()

    with _dev(folder) as (program, sign_up):
        # The database has kept who signed up, so that nothing changes.
        assert '"ok":true' in _paste(sign_up)
        orphans = _servers(folder)
        program.tell(signal.SIGKILL)
        program.wait()
    assert all(is_alive(server) for server in orphans)

    with _dev(folder) as (first, first_sign_up), _dev(other_folder) as (second, second_sign_up):
        assert not any(is_alive(server) for server in orphans)
        assert '"ok":true' in _paste(first_sign_up)
        assert '"ok":true' in _paste(second_sign_up)
        _wait_for_file(other_folder / ".local" / "mail", "*.eml")
        servers = [*_servers(folder), *_servers(other_folder)]
        assert len(servers) == 6
        first.tell(signal.SIGTERM)
        assert first.wait() == 0
        assert '"ok":true' in _paste(second_sign_up)
        second.tell(signal.SIGINT)
        assert second.wait() == 0
    assert not any(is_alive(server) for server in servers)


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_to_be_told_to_end_during_the_start_leaves_nothing_either(folder: Path, word: signal.Signals) -> None:
    # As a shell's `&` leaves it to what runs behind it: with SIGINT ignored.
    with _ignoring_sigint(), mailement("dev", settings={}, folder=folder) as program:
        _wait_for_file(folder / ".local" / "run" / "rabbitmq", "running.json")
        program.tell(word)
        assert program.wait(seconds=120) == 0

    assert program.lines[-1] == "stopped\n"
    assert "Traceback" not in program.output
    assert _servers(folder) == []


def test_to_be_told_to_end_while_the_servers_stop_changes_nothing(folder: Path) -> None:
    with _dev(folder) as (program, _):
        servers = _servers(folder)
        program.tell(signal.SIGINT)
        program.wait_for("stopping PostgreSQL and RabbitMQ")
        program.tell(signal.SIGINT)
        program.tell(signal.SIGTERM)
        assert program.wait() == 0

    assert "Traceback" not in program.output
    assert not any(is_alive(server) for server in servers)
