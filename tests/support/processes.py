"""`mailement` as a process of its own: started with an environment, read line by line, told to end."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


def bare_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Nothing of ours but `settings`."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}  # noqa: TID251
    return {**inherited, "PYTHONUNBUFFERED": "1", **settings}


class Program:
    """One running command; its output is kept, standard error within it."""

    def __init__(self, words: Sequence[str], settings: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mailement_cli", *words],
            cwd=folder,
            env=bare_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything that was read so far."""
        return "".join(self.lines)

    def wait_for(self, text: str, *, seconds: float = 60) -> None:
        """Reads on until a line holds `text`. Fails if the program ends before."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                raise AssertionError(f"{text!r} did not come within {seconds} s:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"it ended before {text!r} came:\n{self.output}")
            self.lines.append(line)
            if text in line:
                return

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, *, seconds: float = 60) -> int:
        """The exit code; what was printed until then is in `output`."""
        code = self._process.wait(timeout=seconds)
        while (line := self._lines.get(timeout=10)) is not None:
            self.lines.append(line)
        return code

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.put(line)
        self._lines.put(None)


@contextmanager
def mailement(*words: str, settings: Mapping[str, str], folder: Path) -> Iterator[Program]:
    """Starts `mailement <words>`; at the end of the block it does not run any more."""
    program = Program(words, settings, folder)
    try:
        yield program
    finally:
        program.kill()


def run_mailement(
    *words: str, settings: Mapping[str, str], folder: Path, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "mailement_cli", *words],
        check=False,
        cwd=folder,
        env=bare_environment(settings),
        capture_output=True,
        text=True,
        timeout=seconds,
    )
