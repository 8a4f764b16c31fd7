"""Processes of this machine, told apart by pid and start time, so that a reused pid is never ours.

Linux answers from /proc, other systems through `ps`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys" / "kernel" / "random" / "boot_id"
_POLL_SECONDS = 0.02

# What is sent, and how many seconds it is given before the next.
Escalation = Sequence[tuple[signal.Signals, float]]
AT_ONCE: Escalation = ((signal.SIGKILL, 10.0),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process; `started` differs between two that bear the same pid one after the other."""

    pid: int
    started: str


def find_process(pid: int) -> Process | None:
    """The process with this pid; None if there is none or only its remains wait to be reaped."""
    if not _BOOT_ID.exists():
        return _find_by_ps(pid)
    try:
        state, _, started = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else Process(pid=pid, started=f"{_BOOT_ID.read_text().strip()}:{started}")


def is_alive(process: Process) -> bool:
    return find_process(process.pid) == process


def children(parent: Process) -> list[Process]:
    """The processes that `parent` has started and that still run."""
    if _BOOT_ID.exists():
        pids = [pid for pid in _pids() if _parent(pid) == parent.pid]
    else:
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], check=True, capture_output=True, text=True)
        pairs = [line.split() for line in listed.stdout.splitlines()]
        pids = [int(pid) for pid, ppid in pairs if int(ppid) == parent.pid]
    return _found(pids)


def working_in(folder: Path, program: str) -> list[Process]:
    """The processes of a program whose working directory is `folder`; none where there is no /proc."""
    return _found(pid for pid in _pids() if _works_in(pid, folder, program)) if _BOOT_ID.exists() else []


def end(processes: Iterable[Process], escalation: Escalation) -> None:
    """End processes: each signal is sent to those left, which then have its seconds to go.

    Raises TimeoutError if the last signal's seconds pass in vain.
    """
    left = [process for process in processes if is_alive(process)]
    for wanted, seconds in escalation:
        for process in left:
            _send(process, wanted)
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            left = [process for process in left if is_alive(process)]
        if not left:
            return
    raise TimeoutError(f"still running after {escalation[-1][0].name}: {', '.join(str(p.pid) for p in left)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A file that remembers which processes run, for a start after a crash of whoever started them."""

    path: Path

    def write(self, processes: Iterable[Process]) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps([asdict(process) for process in processes]))
        draft.replace(self.path)

    def left_over(self) -> list[Process]:
        """Those of the recorded processes that still run."""
        if not self.path.exists():
            return []
        recorded = [Process(**fields) for fields in json.loads(self.path.read_text())]
        return [process for process in recorded if is_alive(process)]

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)


def _send(process: Process, wanted: signal.Signals) -> None:
    if is_alive(process):
        try:
            os.kill(process.pid, wanted)
        except ProcessLookupError:
            return  # it went by itself in between


def _found(pids: Iterable[int]) -> list[Process]:
    return [process for pid in pids if (process := find_process(pid)) is not None]


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _stat(pid: int) -> tuple[str, int, str]:
    """State, parent's pid, and start in clock ticks since boot."""
    # The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[1]), fields[19]


def _parent(pid: int) -> int | None:
    try:
        return _stat(pid)[1]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _works_in(pid: int, folder: Path, program: str) -> bool:
    process = _PROC / str(pid)
    try:
        return (process / "comm").read_text().strip() == program and (process / "cwd").readlink() == folder
    except OSError:
        return False  # gone meanwhile, or somebody else's


def _find_by_ps(pid: int) -> Process | None:
    told = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], check=False, capture_output=True, text=True
    )
    state, _, started = told.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else Process(pid=pid, started=started.strip())
