from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mailement_cli.local.processes import AT_ONCE, ProcessRecord, children, end, find_process, is_alive

IGNORE_TERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def test_a_process_is_itself() -> None:
    this = find_process(os.getpid())

    assert this is not None
    assert is_alive(this)


def test_a_pid_that_was_given_again_is_another_process() -> None:
    this = find_process(os.getpid())

    assert this is not None
    assert not is_alive(replace(this, started="earlier"))


def test_a_process_that_waits_to_be_reaped_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        child.communicate()
        running = find_process(child.pid)
        if running is not None:
            end([running], ((signal.SIGTERM, 10.0),))

        assert find_process(child.pid) is None


def test_a_process_that_ignores_the_first_signal_gets_the_next() -> None:
    with subprocess.Popen([sys.executable, "-c", IGNORE_TERM], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = find_process(child.pid)
        assert running is not None

        end([running], ((signal.SIGTERM, 0.1), (signal.SIGKILL, 10.0)))

        assert child.wait() == -signal.SIGKILL


def test_a_process_that_outlives_the_last_signal_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", IGNORE_TERM], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = find_process(child.pid)
        assert running is not None

        with pytest.raises(TimeoutError, match=str(child.pid)):
            end([running], ((signal.SIGTERM, 0.1),))
        end([running], AT_ONCE)


def test_children_are_found_by_their_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", IGNORE_TERM], stdout=subprocess.PIPE) as child:
        this = find_process(os.getpid())
        assert this is not None

        found = [process.pid for process in children(this)]
        child.kill()

        assert child.pid in found


def test_a_record_forgets_processes_that_are_gone(tmp_path: Path) -> None:
    this = find_process(os.getpid())
    assert this is not None
    record = ProcessRecord(path=tmp_path / "running.json")
    record.write([this, replace(this, started="earlier")])

    assert record.left_over() == [this]

    record.clear()
    assert record.left_over() == []
