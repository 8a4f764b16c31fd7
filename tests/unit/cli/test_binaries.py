from __future__ import annotations

from pathlib import Path

import pytest

from mailement_cli.local.binaries import find_docker, find_postgres


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_postgres_on_path_is_preferred(tmp_path: Path) -> None:
    _program(tmp_path / "initdb", "exit 0")
    _program(tmp_path / "postgres", "echo 'postgres (PostgreSQL) 99.1'")

    found = find_postgres({"PATH": str(tmp_path)})

    assert found is not None
    assert (found.major, found.folder) == (99, tmp_path)


@pytest.mark.parametrize("version", ["14.9", "9.6.2"])
def test_a_postgres_that_is_too_old_is_not_taken(tmp_path: Path, version: str) -> None:
    _program(tmp_path / "initdb", "exit 0")
    _program(tmp_path / "postgres", f"echo 'postgres (PostgreSQL) {version}'")

    found = find_postgres({"PATH": str(tmp_path)})

    assert found is None or found.folder != tmp_path


def test_a_docker_without_an_engine_is_none(tmp_path: Path) -> None:
    _program(tmp_path / "docker", "echo 'cannot connect' >&2; exit 1")

    assert find_docker({"PATH": str(tmp_path)}) is None


def test_a_docker_that_does_not_answer_is_none(tmp_path: Path) -> None:
    _program(tmp_path / "docker", "exec /bin/sleep 30")

    assert find_docker({"PATH": str(tmp_path)}, patience_seconds=0.1) is None


def test_a_docker_whose_engine_answers_is_found(tmp_path: Path) -> None:
    _program(tmp_path / "docker", "echo 28.0.0")

    assert find_docker({"PATH": str(tmp_path)}) == tmp_path / "docker"
