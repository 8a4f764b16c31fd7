from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

WRAPPER = Path(__file__).resolve().parents[3] / "mailement"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copy(WRAPPER, folder)
    return folder


def _install(clone: Path) -> None:
    program = clone / ".venv" / "bin" / "mailement"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s|" "$ONE" "$TWO" "$@"\n')
    program.chmod(0o755)


def _run(clone: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "mailement", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", **environ},
    )


def test_without_an_environment_it_says_what_to_do(clone: Path) -> None:
    ran = _run(clone)

    assert (ran.returncode, ran.stderr) == (1, "mailement: run `make setup` first\n")


def test_words_are_handed_on_as_they_are(clone: Path) -> None:
    _install(clone)

    assert _run(clone, "two words", "*").stdout == "||two words|*|"


def test_a_running_stack_fills_in_what_is_not_set(clone: Path) -> None:
    _install(clone)
    settings = clone / ".local" / "run" / "env"
    settings.parent.mkdir(parents=True)
    settings.write_text('# of a run\nONE=$HOME `id` "x"=y\nTWO=from the run\nnot a name=1\n')

    assert _run(clone, TWO="mine").stdout == '$HOME `id` "x"=y|mine|'
