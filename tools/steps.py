"""How set-up tells what it does: one line per step, with its seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class SetupError(Exception):
    """Set-up cannot go on; the message says what a person can do about it."""


class CommandFailedError(Exception):
    """A command ended with an error; `output` is what it wrote."""

    def __init__(self, command: Sequence[str | Path], output: str) -> None:
        super().__init__(f"{' '.join(map(str, command))}\n{output.strip()}")
        self.output = output


def say(sentence: str) -> None:
    print(f"setup: {sentence}", flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Tell a step before it begins and its seconds once it is done."""
    started = time.monotonic()
    on_terminal = sys.stdout.isatty()
    if on_terminal:
        print(f"setup: {name} …", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed" if on_terminal else f"setup: {name} … failed", flush=True)
        raise
    seconds = f"{time.monotonic() - started:.1f} s"
    print(f" {seconds}" if on_terminal else f"setup: {name} … {seconds}", flush=True)


def run(command: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> str:
    """Run a command quietly; what it wrote is returned, or raised with CommandFailedError."""
    done = subprocess.run(
        command,
        check=False,
        env=dict(environ) if environ is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise CommandFailedError(command, done.stdout)
    return done.stdout
