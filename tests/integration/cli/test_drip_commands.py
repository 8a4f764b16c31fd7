"""`mailement drip`, `mailement event` and keys with scopes, as an operator types them."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailement_newsletter.usecases.advance_drips import advance_drips
from tests.support.database import Database
from tests.support.operator import Operator, OperatorBeside, operators_environment
from tests.support.processes import bare_environment

COURSE = """
name: Course
window: {from: 00:00, to: 23:59}
max_per_hour: 600
goals: [order.paid]
steps:
  - label: hello
    subject: "Hello {{ first_name | default: 'you' }}"
    text: Hello.
  - delay: 2 days
    label: reads
    condition: {if: {any: [{opened: hello}, {not: {field: city, exists: true}}]}, otherwise: exit}
  - label: more
    delay: 1 hour
    subject: More
    html: |
      <p>More</p>
      <p>And more</p>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """A brand, its operator, and the database behind them."""

    operator: OperatorBeside
    database: Database
    folder: Path

    async def create(self, text: str = COURSE) -> str:
        made = await self.operator.get("drip", "create", "--brand", "acme", "--file", self.file(text))
        return str(made["id"])

    def file(self, text: str) -> str:
        path = self.folder / "drip.yaml"
        path.write_text(text)
        return str(path)

    async def put_in(self, drip: str, email: str = "reader@example.com") -> int:
        """Enrols, and lets the first step run."""
        await self.operator.get("subscriber", "create", "--brand", "acme", "--email", email)
        await self.get("enroll", drip, "--email", email)
        await advance_drips(self.database.pool, now=datetime.now(UTC), behind=0, batch=10)  # noqa: TID251
        run: int = await self.database.pool.fetchval("SELECT max(id) FROM drip_enrollments")
        return run

    async def get(self, *words: str) -> Any:
        return await self.operator.get("drip", *words, "--brand", "acme")

    async def read(self, *words: str) -> str:
        return await self.operator.read("drip", *words, "--brand", "acme")

    async def fail(self, *words: str) -> str:
        return await self.operator.fail("drip", *words, "--brand", "acme")


@pytest.fixture
async def acme(database: Database, tmp_path: Path) -> Acme:
    operator = OperatorBeside(Operator(operators_environment(database)))
    await operator.get("brand", "create", "--slug", "acme", "--name", "Acme", "--opt-in", "single")
    return Acme(operator=operator, database=database, folder=tmp_path)


async def test_a_drip_is_drawn_with_its_numbers(acme: Acme) -> None:
    drip = await acme.create()
    await acme.put_in(drip)
    await acme.database.pool.execute(
        """
        INSERT INTO drip_tallies (drip_id, step_id, what, n)
        SELECT t.drip_id, t.id, w.what, w.n
        FROM drip_steps AS t, (VALUES ('ran', 999), ('sent', 1000), ('opened', 400)) AS w (what, n)
        WHERE t.label = 'hello'
        """
    )
    assert (await acme.read("show", drip)).splitlines() == [
        "Course  live  version 1",
        "enrolled 1  active 1",
        "mails leave 00:00 to 23:59, UTC",
        "ends by order.paid",
        "at most 600 mails an hour",
        "",
        "○ when somebody is enrolled",
        "│",
        "● 1 hello  mail: Hello {{ first_name | default: 'you' }}",
        "│   ran 1,000  sent 1,000 (100%)  opened 400 (40%)",
        "│",
        "│ 2 days   1 waiting",
        "│",
        "◆ 2 reads  if has opened hello or not city is filled",
        "│   yes ─▶ next",
        "│   no  ─▶ the end",
        "│",
        "│ 1 hour",
        "│",
        "● 3 more  mail: More",
        "│",
        "■ the end",
    ]


async def test_what_is_still_to_be_done_in_the_background_is_shown_with_why_it_was_refused(
    acme: Acme,
) -> None:
    drip = await acme.create()
    await acme.database.pool.execute(
        """
        INSERT INTO drip_jobs (drip_id, kind, attempts, error)
        VALUES ($1, 'respace', 3, 'CheckViolationError: poison'), ($1, 'retime', 0, NULL)
        """,
        int(drip),
    )
    shown = (await acme.read("show", drip)).splitlines()
    assert shown[5:8] == [
        "in the background: moving runs along with their steps, paused until then",
        "refused 3 times: CheckViolationError: poison",
        "in the background: reckoning anew when next steps are due",
    ]
    assert [work["attempts"] for work in (await acme.get("show", drip))["work"]] == [3, 0]


def _show_in_a_pipe(environment: Mapping[str, str], drip: str) -> bytes:
    return subprocess.run(
        [sys.executable, "-m", "mailement_cli", "drip", "show", drip, "--brand", "acme"],
        env=bare_environment(environment),
        capture_output=True,
        check=True,
    ).stdout


def _show_in_a_terminal(environment: Mapping[str, str], drip: str) -> bytes:
    screen, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mailement_cli", "drip", "show", drip, "--brand", "acme"],
        env=bare_environment(environment),
        stdout=theirs,
    )
    os.close(theirs)
    shown = b""
    # The kernel answers with an error when nobody has the other side open any more.
    with suppress(OSError):
        while chunk := os.read(screen, 4096):
            shown += chunk
    os.close(screen)
    assert process.wait(30) == 0
    return shown


async def test_a_terminal_of_another_age_gets_ascii(acme: Acme) -> None:
    await acme.operator.get("topic", "create", "--brand", "acme", "--slug", "früh", "--name", "Früh")
    goals = ", ".join(f"goal.number.{number}" for number in range(20))
    text = COURSE.replace("name: Course", "name: Kürs").replace("order.paid", goals)
    drip = await acme.create(text + "exit_on: {topics: [früh]}\n")
    environment = {**acme.operator.environment, "PYTHONIOENCODING": "ascii"}
    shown = await asyncio.to_thread(_show_in_a_pipe, environment, drip)
    assert shown.isascii()
    assert b"* 1 hello" in shown
    assert b"|   no  -> the end" in shown
    assert b"\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 100


async def test_colours_are_for_a_terminal(acme: Acme) -> None:
    drip = await acme.create()
    environment = {**acme.operator.environment, "PYTHONIOENCODING": "utf-8", "TERM": "xterm"}
    shown = await asyncio.to_thread(_show_in_a_terminal, environment, drip)
    assert "\x1b[32mlive" in shown.decode()
    assert "\x1b" not in await acme.read("show", drip)


async def test_what_is_shown_as_yaml_can_be_edited_and_given_back(acme: Acme) -> None:
    drip = await acme.create()
    written = await acme.read("show", drip, "--yaml")
    assert "html: |\n" in written
    described = yaml.safe_load(written)
    assert described["version"] == 1
    edited = written.replace("subject: More", "subject: Much more").replace("delay: 2 days", "delay: 3 days")
    saved = await acme.get("edit", drip, "--file", acme.file(edited))
    assert saved["version"] == 2
    (hello, reads, more) = (await acme.get("show", drip))["steps"]
    assert [step["id"] for step in (hello, reads, more)] == [step["id"] for step in described["steps"]]
    assert (reads["delay"], more["subject"]) == (3 * 86_400, "Much more")
    assert "version 2 now" in await acme.fail("edit", drip, "--file", acme.file(edited))


async def test_drips_are_listed_in_pages(acme: Acme) -> None:
    first = await acme.create()
    second = await acme.create(COURSE.replace("Course", "Other"))
    page = await acme.operator.type("drip", "list", "--brand", "acme", "--limit", "1")
    assert page.stderr == f"there are more: --cursor {first}\n"
    assert [drip["id"] for drip in await acme.get("list", "--cursor", first)] == [int(second)]


async def test_a_preview_says_what_an_edit_does(acme: Acme) -> None:
    drip = await acme.create()
    await acme.put_in(drip)
    edited = acme.file(COURSE.replace("2 days", "10 minutes"))
    told = await acme.read("preview", drip, "--file", edited)
    assert "Steps: 3 stay, 0 move, 0 come in, 0 go." in told
    assert "This moves 1 of 1 people: 1 to an earlier time, 0 to a later one; for 1 the next" in told
    assert (await acme.get("preview", drip, "--file", edited))["within_the_hour"] == 1
    assert "nobody gets another time" in await acme.read("preview", drip, "--file", acme.file(COURSE))
    assert (await acme.get("show", drip))["version"] == 1


async def test_pausing_and_resuming_say_what_that_does(acme: Acme) -> None:
    drip = await acme.create()
    await acme.put_in(drip)
    await acme.database.pool.execute("UPDATE drip_enrollments SET next_run_at = now() - interval '1 hour'")
    assert (await acme.get("pause", drip))["state"] == "paused"
    before = await acme.read("resume", drip, "--dry-run")
    assert before.startswith(f"Drip {drip} is paused.\n1 has fallen behind")
    assert "would run now, at most 600 mails an hour" in " ".join(before.split())
    assert (await acme.get("show", drip))["state"] == "paused"
    after = await acme.get("resume", drip)
    assert (after["state"], after["was"], after["overdue"]) == ("live", "paused", 1)
    assert (await acme.get("archive", drip))["state"] == "archived"
    assert "archived" in await acme.fail("pause", drip)


async def test_failed_runs_are_retried(acme: Acme) -> None:
    drip = await acme.create()
    await acme.put_in(drip)
    await acme.database.pool.execute("UPDATE drip_enrollments SET state = 'failed'")
    assert await acme.get("retry", drip) == {"id": int(drip), "retried": 1}


async def test_runs_are_listed_and_explained(acme: Acme) -> None:
    drip = await acme.create()
    first = await acme.put_in(drip)
    second = await acme.put_in(drip, "second@example.com")
    assert [run["id"] for run in await acme.get("runs", drip)] == [first, second]
    assert [run["id"] for run in await acme.get("runs", drip, "--email", "second@example.com")] == [second]
    assert await acme.get("runs", drip, "--state", "completed") == []
    page = await acme.operator.type("drip", "runs", drip, "--brand", "acme", "--limit", "1", "--json")
    cursor = page.stderr.removeprefix("there are more: --cursor ").strip()
    assert [run["id"] for run in await acme.get("runs", drip, "--cursor", cursor)] == [second]
    assert "--cursor" in await acme.fail("runs", drip, "--cursor", "x")
    told = await acme.read("explain", str(first))
    assert "Is before step 2 (reads), which is due on" in told
    assert "Step 1 (hello) made its mail on" in " ".join(told.split())
    assert (await acme.get("explain", str(first)))["steps"][0]["verdict"] == "queued"
    assert "no run 999" in await acme.fail("explain", "999")


async def test_runs_of_a_subscriber_are_listed_over_all_drips(acme: Acme) -> None:
    runs = [await acme.put_in(await acme.create(COURSE.replace("Course", name))) for name in ("One", "Two")]
    words = ("subscriber", "runs", "--brand", "acme", "--email", "reader@example.com")
    assert [run["id"] for run in await acme.operator.get(*words)] == runs[::-1]
    first = await acme.operator.type(*words, "--limit", "1", "--json")
    cursor = first.stderr.removeprefix("there are more: --cursor ").strip()
    assert [run["id"] for run in await acme.operator.get(*words, "--cursor", cursor)] == runs[:1]


async def test_whoever_is_enrolled_can_be_taken_out_again(acme: Acme) -> None:
    drip = await acme.create()
    run = str(await acme.put_in(drip))
    again = await acme.get("enroll", drip, "--email", "reader@example.com")
    assert again["already_enrolled"] is True
    assert (await acme.get("exit", run))["exit_reason"] == "removed"
    assert "somebody took the subscriber out" in " ".join((await acme.read("explain", run)).split())
    assert await acme.fail("exit", "999") == "the brand has no run 999"


async def test_why_somebody_cannot_be_enrolled_is_one_line(acme: Acme) -> None:
    draft = await acme.create(COURSE + "state: draft\n")
    email = ("--email", "reader@example.com")
    assert await acme.fail("enroll", draft, *email) == "the brand has no such subscriber"
    await acme.operator.get("subscriber", "create", "--brand", "acme", *email)
    assert "is a draft" in await acme.fail("enroll", draft, *email)
    await acme.get("archive", draft)
    assert await acme.fail("enroll", draft, *email) == "the drip is archived"
    assert await acme.fail("enroll", "99", *email) == "the brand has no drip 99"
    live = await acme.create(COURSE.replace("Course", "Other"))
    await acme.operator.get("subscriber", "unsubscribe", "--brand", "acme", *email)
    assert await acme.fail("enroll", live, *email) == "the subscriber has unsubscribed"


async def test_a_drip_is_simulated_for_somebody(acme: Acme) -> None:
    drip = await acme.create()
    somebody = ("simulate", drip, "--from", "2030-01-01T08:00")
    told = (await acme.read(*somebody)).splitlines()
    assert told[:5] == [
        "Times in UTC.",
        "Tue 2030-01-01 08:00    1  send          hello",
        "Thu 2030-01-03 08:00    2  condition     reads  [holds]",
        "Thu 2030-01-03 09:00    3  send          more",
        "                           completed",
    ]
    found = await acme.get(*somebody, "--field", "city=Lisbon")
    assert [step["number"] for step in found["steps"]] == [1, 2]
    await acme.put_in(drip)
    known = await acme.get("simulate", drip, "--email", "reader@example.com")
    assert [step["number"] for step in known["steps"]] == [2, 3]
    usage = await acme.operator.type("drip", "simulate", drip, "--brand", "acme", "--field", "city")
    assert (usage.exit_code, "KEY=VALUE" in usage.stderr) == (2, True)
    assert "--topic" in await acme.fail("simulate", drip, "--email", "a@example.com", "--topic", "x")


async def test_the_numbers_are_a_table(acme: Acme) -> None:
    drip = await acme.create()
    await acme.put_in(drip)
    assert (await acme.get("stats", drip))["numbers"]["active"] == 1
    table = (await acme.read("stats", drip)).splitlines()
    assert table[8].split()[-2:] == ["open_rate", "click_rate"]
    assert max(map(len, table)) <= 80


async def test_what_the_brand_does_not_have_is_one_line(acme: Acme) -> None:
    for command in ("show", "pause", "resume", "archive", "retry", "stats", "runs", "simulate"):
        assert await acme.fail(command, "99") == "the brand has no drip 99"
    told = await acme.fail("create", "--file", acme.file(COURSE + "  - add_topic: nowhere\n"))
    assert told == "the drip file: steps.3.add_topic: the brand has no topic 'nowhere'"


async def test_odd_drips_are_noted(acme: Acme) -> None:
    result = await acme.operator.type(
        "drip", "create", "--brand", "acme", "--file", acme.file(COURSE + "zone: subscriber\n")
    )
    assert result.exit_code == 0
    assert "note: zone: the brand has no field `timezone`" in result.stderr


async def test_events_are_reported(acme: Acme) -> None:
    await acme.operator.get("subscriber", "create", "--brand", "acme", "--email", "reader@example.com")
    words = ("event", "report", "order.paid", "--brand", "acme", "--email", "reader@example.com")
    reported = await acme.operator.get(*words, "--property", "total=49")
    event = await acme.database.pool.fetchrow(
        "SELECT event_id, data FROM outbox WHERE type = 'event.reported'"
    )
    assert event is not None
    assert reported["event_id"] == str(event["event_id"])
    assert event["data"]["event"] == {"name": "order.paid", "properties": {"total": "49"}}
    once = [await acme.operator.get(*words, "--event-id", "order-1") for _ in range(2)]
    assert once[0] == once[1] != reported
    assert "an event's id" in await acme.operator.fail(*words, "--event-id", "a b")
    assert "an event's name" in await acme.operator.fail(
        "event", "report", "a b", "--brand", "acme", "--id", "1"
    )


async def test_a_key_shows_its_scopes(acme: Acme) -> None:
    create = ("key", "create", "--brand", "acme", "--name", "shop")
    await acme.operator.get(*create)
    await acme.operator.get(*create, "--scope", "events:write", "--scope", "drips:write")
    keys = await acme.operator.get("key", "list", "--brand", "acme")
    assert [key["scopes"] for key in keys] == [[], ["drips:write", "events:write"]]
