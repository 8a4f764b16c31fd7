from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from mailement_cli.local.interrupts import held_back, taken_as_ctrl_c

# Signals are of the whole process, and only its main thread may say what they do: so each test has a process of its own.
_BLOCK = """
import signal
from mailement_cli.local.interrupts import held_back, taken_as_ctrl_c

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
try:
    with {blocks}:
        signal.raise_signal(signal.{word})
        print("went on")
    print("after")
except KeyboardInterrupt:
    print("interrupted")
print(signal.getsignal(signal.SIGINT).name, signal.getsignal(signal.SIGTERM).name)
"""


def _run(blocks: str, word: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", _BLOCK.format(blocks=blocks, word=word)],
        check=True,
        capture_output=True,
        text=True,
    )
    return ran.stdout.splitlines()


@pytest.mark.parametrize("word", ["SIGINT", "SIGTERM"])
def test_a_word_to_end_interrupts_even_who_inherited_not_to_hear_it(word: str) -> None:
    assert _run("taken_as_ctrl_c()", word) == ["interrupted", "SIG_IGN SIG_IGN"]


@pytest.mark.parametrize("word", ["SIGINT", "SIGTERM"])
def test_a_word_that_is_held_back_interrupts_at_the_end_of_the_block(word: str) -> None:
    assert _run("taken_as_ctrl_c(), held_back()", word) == ["went on", "interrupted", "SIG_IGN SIG_IGN"]


def test_who_hears_nothing_is_not_interrupted() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    with taken_as_ctrl_c(), held_back():
        pass

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_failure_of_the_block_goes_before_what_was_held_back() -> None:
    def fail() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            raise OSError("the port is taken")

    with pytest.raises(OSError, match="port"):
        fail()
