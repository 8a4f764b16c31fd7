"""Every noun's commands against a migrated database, in this process."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from mailement_cli.__main__ import main
from tests.support.bus import bus
from tests.support.database import Database
from tests.support.operator import Operator, operators_environment
from tests.support.processes import run_mailement

__all__ = ["bus"]

DRIP = """
name: Welcome
trigger: topic_added
topic: weekly
steps:
  - {delay: 0, subject: Welcome, text: Hello}
  - {delay: 2 days, subject: More, html: <p>Hello</p>}
"""
MANUAL = "name: Manual\nsteps:\n  - {delay: 0, subject: Hi, text: Hello}\n"


@pytest.fixture
def operator(database: Database) -> Operator:
    return Operator(operators_environment(database))


@pytest.fixture
def acme(operator: Operator) -> Operator:
    """With a brand `acme`."""
    operator.get("brand", "create", "--slug", "acme", "--name", "Acme", "--opt-in", "single")
    return operator


def test_accounts(operator: Operator) -> None:
    made = operator.get("account", "create", "--slug", "house", "--name", "The House")

    assert (made["slug"], made["name"]) == ("house", "The House")
    assert operator.get("account", "show", "house")["id"] == made["id"]
    assert [account["slug"] for account in operator.get("account", "list")] == ["house"]
    assert "The House" in operator.read("account", "list")
    assert "The House" in operator.read("account", "show", "house")
    assert "house" in operator.fail("account", "create", "--slug", "house", "--name", "Again")
    assert "cottage" in operator.fail("account", "show", "cottage")


def test_brands(operator: Operator) -> None:
    made = operator.get(
        *("brand", "create", "--slug", "acme", "--name", "Acme", "--opt-in", "double"),
        *("--from-name", "Ada", "--from-address", "ada@example.com"),
    )

    assert (made["slug"], made["opt_in_mode"], made["account"]) == ("acme", "double", "default")
    assert operator.get("brand", "show", "acme") == made
    assert operator.get("brand", "list") == [made]
    assert "acme" in operator.read("brand", "list")
    assert "Acme" in operator.read("brand", "show", "acme")
    assert "acme" in operator.fail("brand", "create", "--slug", "acme", "--name", "A", "--opt-in", "single")
    assert operator.fail(
        *("brand", "create", "--slug", "b", "--name", "B", "--opt-in", "single", "--from-address", "not one")
    )
    assert "nobody" in operator.fail("brand", "show", "nobody")


def test_a_brand_of_several_accounts_needs_to_be_told_which(operator: Operator) -> None:
    for slug in ("one", "two"):
        operator.get("account", "create", "--slug", slug, "--name", slug)
    words = ("brand", "create", "--slug", "acme", "--name", "Acme", "--opt-in", "single")

    assert "--account" in operator.fail(*words)
    assert operator.get(*words, "--account", "two")["account"] == "two"


def test_a_brand_is_deleted_after_a_question(acme: Operator) -> None:
    refused = acme.type("brand", "delete", "acme", given="n\n")
    assert refused.exit_code == 1
    assert acme.get("brand", "show", "acme")["slug"] == "acme"

    assert acme.get("brand", "delete", "acme", "--yes")["deleted"] is True

    assert acme.get("brand", "list") == []
    assert "acme" in acme.fail("brand", "delete", "acme", "--yes")
    acme.get("brand", "create", "--slug", "acme", "--name", "Again", "--opt-in", "single")


def test_keys(acme: Operator) -> None:
    made = acme.get("key", "create", "--brand", "acme", "--name", "the site")

    assert set(made) == {"id", "key"}
    assert re.fullmatch(r"mlm_live_[0-9a-f]{32}", made["key"])
    (listed,) = acme.get("key", "list", "--brand", "acme")
    assert (listed["id"], listed["last_four"]) == (made["id"], made["key"][-4:])
    assert made["key"] not in acme.read("key", "list")
    assert made["key"] not in acme.read("key", "show", str(made["id"]))
    assert acme.get("key", "show", str(made["id"]))["revoked_at"] is None
    assert acme.get("key", "revoke", str(made["id"]))["revoked_at"] is not None
    assert "99" in acme.fail("key", "revoke", "99")
    assert "99" in acme.fail("key", "show", "99")
    assert acme.get("key", "list", "--brand", "acme")[0]["revoked_at"] is not None


def test_a_key_is_printed_once_as_json_also_without_the_option(acme: Operator) -> None:
    made = orjson.loads(acme.read("key", "create", "--brand", "acme", "--name", "the site"))

    assert set(made) == {"id", "key"}


def test_topics(acme: Operator) -> None:
    made = acme.get("topic", "create", "--brand", "acme", "--slug", "weekly", "--name", "Weekly")
    hidden = acme.get("topic", "create", "--brand", "acme", "--slug", "vip", "--name", "VIP", "--private")

    assert (made["is_public"], hidden["is_public"]) == (True, False)
    assert acme.get("topic", "show", "weekly", "--brand", "acme") == made
    assert {topic["slug"] for topic in acme.get("topic", "list", "--brand", "acme")} == {"weekly", "vip"}
    assert "Weekly" in acme.read("topic", "list", "--brand", "acme")
    assert "VIP" in acme.read("topic", "show", "vip", "--brand", "acme")
    assert "weekly" in acme.fail("topic", "create", "--brand", "acme", "--slug", "weekly", "--name", "W")
    assert "daily" in acme.fail("topic", "show", "daily", "--brand", "acme")


def test_slugs_that_callers_got_wrong_are_listed(acme: Operator) -> None:
    assert acme.read("topic", "unknown", "--brand", "acme") == "(none)\n"

    acme.get("subscriber", "create", "--brand", "acme", "--email", "a@example.com", "--tag", "wekly")

    (unknown,) = acme.get("topic", "unknown", "--brand", "acme")
    assert (unknown["slug"], unknown["days"]) == ("wekly", 1)
    assert "wekly" in acme.read("topic", "unknown", "--brand", "acme")


def test_fields(acme: Operator) -> None:
    made = acme.get("field", "create", "--brand", "acme", "--key", "genre", "--name", "Genre")

    assert acme.get("field", "show", "genre", "--brand", "acme") == made
    assert acme.get("field", "list", "--brand", "acme") == [made]
    assert acme.get("field", "create", "--brand", "acme", "--key", "size")["name"] == "size"
    assert "Genre" in acme.read("field", "list", "--brand", "acme")
    assert "Genre" in acme.read("field", "show", "genre", "--brand", "acme")
    assert "genre" in acme.fail("field", "create", "--brand", "acme", "--key", "genre")
    assert "colour" in acme.fail("field", "show", "colour", "--brand", "acme")


def test_drips(acme: Operator, tmp_path: Path) -> None:
    (tmp_path / "drip.yaml").write_text(DRIP)
    create = ("drip", "create", "--brand", "acme", "--file", str(tmp_path / "drip.yaml"))
    assert "weekly" in acme.fail(*create)
    acme.get("topic", "create", "--brand", "acme", "--slug", "weekly", "--name", "Weekly")

    made = acme.get(*create)

    drip = str(made["id"])
    assert (made["name"], made["state"], made["starts_by"]) == ("Welcome", "live", "weekly")
    shown = acme.get("drip", "show", drip, "--brand", "acme")
    assert [(step["subject"], step["delay"]) for step in shown["steps"]] == [("Welcome", 0), ("More", 172800)]
    assert "More" in acme.read("drip", "show", drip, "--brand", "acme")
    assert acme.get("drip", "list", "--brand", "acme") == [made]
    assert "Welcome" in acme.read("drip", "list", "--brand", "acme")
    assert acme.get("drip", "pause", drip, "--brand", "acme")["state"] == "paused"
    assert acme.get("drip", "pause", drip, "--brand", "acme")["state"] == "paused"
    assert "live" in acme.read("drip", "resume", drip, "--brand", "acme")
    assert "Welcome" in acme.fail(*create)
    assert "99" in acme.fail("drip", "show", "99", "--brand", "acme")
    assert "99" in acme.fail("drip", "pause", "99", "--brand", "acme")


def test_a_drip_can_be_piped_in_and_its_faults_are_one_line(acme: Operator) -> None:
    made = acme.type("drip", "create", "--brand", "acme", "--file", "-", given=MANUAL)
    assert made.exit_code == 0

    fault = acme.fail("drip", "create", "--brand", "acme", "--file", "-", given="name: ''\nsteps: []\n")
    assert "name: " in fault
    assert "steps: " in fault


def test_subscribers(acme: Operator, tmp_path: Path) -> None:
    acme.get("topic", "create", "--brand", "acme", "--slug", "weekly", "--name", "Weekly")
    create = ("subscriber", "create", "--brand", "acme", "--email")

    made = acme.get(*create, "Ada@Example.com", "--first-name", "Ada", "--tag", "weekly")

    assert (made["status"], made["created"]) == ("confirmed", True)
    assert acme.get(*create, "ada@example.com")["created"] is False
    shown = acme.get("subscriber", "show", "--brand", "acme", "--email", "ADA@example.com")
    assert shown["email"] == "Ada@Example.com"
    assert [topic["slug"] for topic in shown["topics"]] == ["weekly"]
    assert shown["enrollments"] == []
    assert acme.get("subscriber", "show", "--brand", "acme", "--id", str(shown["id"])) == shown
    assert "weekly" in acme.read("subscriber", "show", "--brand", "acme", "--email", "ada@example.com")
    assert "enrolments" in acme.read("subscriber", "show", "--brand", "acme", "--email", "ada@example.com")
    assert "Ada@Example.com" in acme.read("subscriber", "list", "--brand", "acme")
    assert acme.get("subscriber", "list", "--brand", "acme", "--status", "bounced") == []
    for email in ("b@example.com", "c@example.com", "d@example.com"):
        acme.get(*create, email)
    page = acme.type("subscriber", "list", "--brand", "acme", "--limit", "2", "--json")
    assert [one["email"] for one in orjson.loads(page.stdout)] == ["d@example.com", "c@example.com"]
    cursor = page.stderr.removeprefix("there are more: --cursor ").strip()
    rest = acme.type("subscriber", "list", "--brand", "acme", "--limit", "2", "--cursor", cursor, "--json")
    assert [one["email"] for one in orjson.loads(rest.stdout)] == ["b@example.com", "Ada@Example.com"]
    assert rest.stderr == ""


@pytest.mark.parametrize(
    ("deed", "status"),
    [
        ("unsubscribe", "unsubscribed"),
        ("mark-bounced", "bounced"),
        ("mark-complained", "complained"),
    ],
)
def test_subscribers_leave_once(acme: Operator, deed: str, status: str) -> None:
    acme.get("subscriber", "create", "--brand", "acme", "--email", "ada@example.com")
    who = ("--brand", "acme", "--email", "ada@example.com")

    first, second = acme.get("subscriber", deed, *who), acme.get("subscriber", deed, *who)

    assert (first["changed"], second["changed"]) == (True, False)
    assert acme.get("subscriber", "show", *who)["status"] == status


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("subscriber", "show", "--brand", "acme"), "--email or --id"),
        (("subscriber", "show", "--brand", "acme", "--email", "x@example.com"), "no such subscriber"),
        (("subscriber", "show", "--brand", "acme", "--id", "99"), "no such subscriber"),
        (("subscriber", "unsubscribe", "--brand", "acme", "--id", "99"), "no such subscriber"),
        (("subscriber", "create", "--brand", "acme", "--email", "nobody"), "address"),
        (("subscriber", "create", "--brand", "acme", "--email", "x" * 200 + "@example.com"), "characters"),
        (("subscriber", "list", "--brand", "nobody"), "nobody"),
        (("key", "show", "99999999999999999999"), "range"),
        (("subscriber", "show", "--brand", "acme", "--id", "99999999999999999999"), "range"),
        (("topic", "show", "--brand", "acme", "\udcff"), ""),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(acme: Operator, words: tuple[str, ...], told: str) -> None:
    fault = acme.fail(*words)

    assert fault
    assert told in fault


def test_a_fresh_secret_key_fits_the_ring(operator: Operator) -> None:
    entry = operator.read("secret", "new").strip()

    assert operator.get("secret", "new", "--id", "k2")["secret_key"].startswith("k2:")
    ring = Operator({**operators_environment(), "MAILEMENT_SECRET_KEYS": entry})
    # It is read before the database is asked, which is not there.
    assert "cannot connect" in ring.fail("webhook", "set", "--brand", "acme", "--url", "http://127.0.0.1/")


@pytest.mark.parametrize(
    "words",
    [
        ("account", "list"),
        ("brand", "show", "acme"),
        ("key", "create", "--brand", "acme", "--name", "a"),
        ("subscriber", "create", "--brand", "acme", "--email", "a@example.com"),
        ("migrate", "--wait", "0"),
    ],
)
def test_a_database_that_is_away_is_told_in_one_line(words: tuple[str, ...]) -> None:
    assert "cannot connect" in Operator(operators_environment()).fail(*words)


def test_a_database_without_tables_is_told_in_one_line(database: Database) -> None:
    empty = database.url.rpartition("/")[0] + "/postgres"
    operator = Operator({**operators_environment(), "DATABASE_URL": empty})

    assert "mailement migrate" in operator.fail("brand", "list")


def test_a_database_that_is_not_there_is_told_in_one_line(database: Database) -> None:
    operator = Operator({**operators_environment(), "DATABASE_URL": database.url + "_not"})

    assert "does not exist" in operator.fail("brand", "list")


def test_a_wrong_password_is_told_without_it(database: Database) -> None:
    before, _, after = database.url.rpartition("@")
    operator = Operator(
        {**operators_environment(), "DATABASE_URL": f"{before.rpartition(':')[0]}:geheim@{after}"}
    )

    assert "geheim" not in operator.fail("brand", "list")


def test_a_broker_that_is_away_is_told_in_one_line(database: Database) -> None:
    assert "cannot connect" in Operator(operators_environment(database)).fail("migrate", "--wait", "0")


@pytest.mark.parametrize("words", [("brand", "list"), ("migrate",), ("run", "all"), ("run", "api")])
def test_a_configuration_that_cannot_be_used_lists_every_fault(words: tuple[str, ...]) -> None:
    environment = {
        **operators_environment(),
        "DATABASE_URL": "mysql://db",
        "MAILEMENT_DATABASE_POOL_SIZE": "many",
        "MAILEMENT_OPS_PORT": "-1",
        "MAILEMENT_MAIL_PROVIDER": "pigeon",
    }

    result = CliRunner().invoke(main, words, env=environment)

    told = result.stderr.splitlines()
    named = {line.removeprefix("mailement: ").partition(":")[0] for line in told}
    assert result.exit_code == 2
    assert len(named) == len(told)
    assert {"DATABASE_URL", "MAILEMENT_DATABASE_POOL_SIZE"} <= named
    if words[0] == "run":
        assert "MAILEMENT_OPS_PORT" in named
    if words[-1] == "all":
        assert "MAILEMENT_MAIL_PROVIDER" in named


@pytest.mark.parametrize("service", ["all", "api", "webhook-dispatcher", "mailer"])
def test_a_key_ring_that_cannot_be_used_is_a_fault_of_the_configuration(service: str, tmp_path: Path) -> None:
    settings = {**operators_environment(), "MAILEMENT_SECRET_KEYS": "k:short", "MAILEMENT_OPS_PORT": "0"}

    ran = run_mailement("run", service, settings={**settings, "MAILEMENT_HTTP_PORT": "0"}, folder=tmp_path)

    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert "MAILEMENT_SECRET_KEYS" in ran.stderr


def test_migrate_can_be_repeated(database: Database, bus: Any) -> None:
    operator = Operator(
        {
            **operators_environment(database),
            "AMQP_URL": bus.settings.amqp_url,
            "MAILEMENT_BUS_NAMESPACE": bus.settings.bus_namespace,
        }
    )

    assert operator.get("migrate") == {"applied": [], "bus": bus.settings.bus_namespace}
    assert "schema up to date" in operator.read("migrate")


def _commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, entry in group.commands.items():
        found += _commands(entry, (*path, name)) if hasattr(entry, "commands") else [(*path, name)]
    return found


@pytest.mark.parametrize("words", _commands(main), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*words, "--help"])

    assert result.exit_code == 0
    assert len(result.output.splitlines()[2].strip()) > 10
    answers: Callable[[str], bool] = lambda word: word in result.output  # noqa: E731
    assert answers("--json") or words[0] in ("run", "dev", "demo", "torture-receiver")


@pytest.mark.parametrize("words", [("brand",), ("brand", "create"), ("fly",), ("key", "show", "seven")])
def test_a_command_that_is_not_understood_ends_with_two(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, words).exit_code == 2
