"""What must hold for the repository as a whole."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from mailement_api.settings import ApiSettings
from mailement_common.db.sql import NamedQueries
from mailement_common.events.types import EventType
from mailement_common.settings import PREFIX, EnvSettings
from mailement_drip_scheduler.settings import SchedulerSettings
from mailement_mailer.settings import MailerSettings
from mailement_webhook_dispatcher.settings import DispatcherSettings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (ApiSettings, SchedulerSettings, DispatcherSettings, MailerSettings)
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}

# In pieces, so that this file does not hold what it looks for.
_HOSTS = (
    "py" + r"pi\.(?!org\b)\S+",
    "artifact" + "ory",
    "nex" + "us" + r"\.",
    r"(?<!docker)\.inter" + r"nal\b",
    r"code" + "artifact",
)
_MACHINE = (
    "/wo" + "rk/",
    "/ro" + r"ot/(?!\.cache/)",
    "/ho" + r"me/[a-z]",
    "/Us" + "ers/",
    "process" + "_api",
)
_UNFINISHED = ("TO" + "DO", "FIX" + "ME", "XX" + "X")


def _files(*patterns: str) -> list[Path]:
    """What git tracks or would, so that a fresh file counts before its commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def _hits(files: list[Path], *patterns: str) -> list[str]:
    wanted = re.compile("|".join(patterns))
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if wanted.search(line)
    ]


def _sources() -> list[Path]:
    return [path for path in _files("*.py") if "src" in path.relative_to(ROOT).parts]


def test_no_file_names_the_registry_or_the_machine_that_it_was_made_with() -> None:
    files = [path for path in _files() if path.suffix not in {".png", ".ico", ".woff2"}]

    assert _hits(files, *_HOSTS, *_MACHINE) == []


def test_lock_files_hold_no_addresses() -> None:
    locked = _files("requirements*.lock")

    assert len(locked) == 2
    assert _hits(locked, r"https?://", r"--(extra-)?index-url", r"--find-links", "file:") == []


def test_nothing_is_left_for_later() -> None:
    assert (
        _hits(
            [*_sources(), *_files("*.sql", "*.toml", "*.sh", "Makefile")],
            *(rf"\b{word}\b" for word in _UNFINISHED),
        )
        == []
    )


def _variables(kind: type[EnvSettings]) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        yield from _names(name, field)


def _names(name: str, field: FieldInfo) -> list[str]:
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice) for choice in field.validation_alias.choices]
    return [f"{PREFIX}{name.upper()}"]


def test_every_setting_stands_in_the_documents() -> None:
    told = _told("configuration.md", "README.md")
    settings = {variable for kind in SETTINGS for variable in _variables(kind)}

    assert sorted(variable for variable in settings if f"`{variable}`" not in told) == []


def test_the_documents_name_no_setting_that_is_not_there() -> None:
    settings = {variable for kind in SETTINGS for variable in _variables(kind)}
    table = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    named = {
        name
        for row in table.splitlines()
        if row.startswith("|")
        for name in re.findall(r"`(MAILEMENT_\w+)`", row.split("|")[1])
    }

    assert sorted(named - settings) == []


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_says_what_it_is(kind: type[EnvSettings]) -> None:
    assert [name for name, field in kind.model_fields.items() if not field.description] == []


def _told(*names: str) -> str:
    paths = [path for name in names for path in (ROOT / "docs" / name, ROOT / name) if path.exists()]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _log_events() -> dict[str, str]:
    """Each event's name that the code logs, with a place where it does."""
    found: dict[str, str] = {}
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level),
                    args=[ast.Constant(value=str(event)), *_],
                ) if level in LEVELS:
                    found[event] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def test_every_log_event_stands_in_the_documents() -> None:
    told = _told("logging.md")

    assert {event: place for event, place in _log_events().items() if f"`{event}`" not in told} == {}


def test_a_log_event_is_a_dotted_fact() -> None:
    assert [event for event in _log_events() if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", event)] == []


def test_every_type_of_event_stands_in_the_documents() -> None:
    told = _told("events.md")

    assert [event_type for event_type in EventType if f"`{event_type}`" not in told] == []


def _named_sql() -> list[Path]:
    return [
        path
        for path in _files("*.sql")
        if "src" in (parts := path.relative_to(ROOT).parts) and "migrations" not in parts
    ]


@pytest.mark.parametrize("path", _named_sql(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_named_query_is_used_by_the_module_beside_it(path: Path) -> None:
    queries = NamedQueries(path)
    module = path.with_suffix(".py").read_text(encoding="utf-8")

    assert len(queries) >= 1
    assert [name for name in queries if f'SQL["{name}"]' not in module] == []
    assert [name for name in re.findall(r'SQL\["(\w+)"\]', module) if name not in queries] == []


@pytest.mark.parametrize("path", _named_sql(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_named_query_says_what_it_is_for(path: Path) -> None:
    queries = NamedQueries(path)

    assert [name for name, query in queries.items() if not re.match(r"-- \S.+\.\n", query)] == []


def test_every_document_that_is_linked_is_there() -> None:
    missing = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in _files("*.md")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists()
    ]

    assert missing == []


def test_every_metric_stands_in_the_documents() -> None:
    table = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    made = re.compile(r'(?:Counter|Gauge|Histogram)\(\s*"(mailement_[a-z_]+)"')
    names = {name for path in _sources() for name in made.findall(path.read_text(encoding="utf-8"))}

    assert names
    assert {name for name in names if name not in table} == set()
