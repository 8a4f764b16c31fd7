from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LINES = (ROOT / "deploy" / "docker" / "Dockerfile").read_text().splitlines()
FINAL = LINES[max(number for number, line in enumerate(LINES) if line.startswith("FROM ")) :]


def test_bases_are_named_by_tag_alone_and_no_frontend_is_fetched() -> None:
    bases = [line.split()[1] for line in LINES if line.startswith("FROM ")]
    assert bases == ["python:3.13-slim"] * 2
    assert not [line for line in LINES if re.match(r"#\s*syntax\s*=", line)]


def test_the_image_runs_as_nobody_in_particular_and_is_stopped_by_sigterm() -> None:
    assert "USER 10001:10001" in FINAL
    assert "STOPSIGNAL SIGTERM" in FINAL
    assert 'ENTRYPOINT ["mailement"]' in FINAL
    assert [line for line in FINAL if line.startswith("HEALTHCHECK ")]


def test_the_final_stage_installs_nothing() -> None:
    assert not [line for line in FINAL if re.search(r"\b(apt|apt-get|pip|uv)\b", line)]


def test_the_image_is_built_by_the_uv_that_wrote_the_lock() -> None:
    pinned = re.search(r"uv==(\d+\.\d+)\.\d+", "\n".join(LINES))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert pinned is not None
    assert project["tool"]["uv"]["required-version"].startswith(f">={pinned[1]},")


def test_the_context_is_what_the_image_is_made_of() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {line.split()[1] for line in LINES if line.startswith("COPY ") and "--from" not in line}
    assert "*" in ignored
    assert copied == allowed
