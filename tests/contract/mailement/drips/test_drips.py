"""What each call on drips, runs and events does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from mailement_newsletter.catalog.keys import create_key
from mailement_newsletter.rules.scopes import KeyScope
from mailement_newsletter.usecases.advance_drips import advance_drips
from tests.contract.mailement.drips.series import DRIP, EVENT, LATER, MAIL, Drips
from tests.support.brands import READER


async def test_a_drip_is_created_and_shown(drips: Drips) -> None:
    made = await drips.post("/drips", DRIP)
    drip = made["drip"]
    assert (drip["name"], drip["state"], drip["version"], made["warnings"]) == ("Course", "live", 1, [])
    assert [(step["label"], step["kind"], step["waiting"]) for step in drip["steps"]] == [
        ("hello", "send", 0),
        ("later", "send", 0),
    ]
    assert await drips.get(f"/drips/{drip['id']}") == {"success": True, "drip": drip}


async def test_what_is_shown_can_be_sent_back(drips: Drips) -> None:
    drip = await drips.make()
    again = (await drips.put(f"/drips/{drip['id']}", drip["definition"]))["drip"]
    assert again["version"] == 2
    assert again["definition"] == {**drip["definition"], "version": 2}


async def test_every_fault_of_a_drip_comes_with_its_place(drips: Drips) -> None:
    sent = {"name": "", "trigger": "topic_added", "topic": "news", "steps": [{"subject": "a"}]}
    answer = await drips.call("POST", "/drips", sent)
    assert answer.error == (422, "invalid_drip")
    assert {fault["at"] for fault in answer.body["errors"]} == {"name", "steps.0"}
    unknown = await drips.call("POST", "/drips", {**sent, "name": "a", "steps": [MAIL]})
    assert unknown.body["errors"] == [{"at": "topic", "message": "the brand has no topic 'news'"}]


async def test_a_template_that_fails_is_a_fault_of_its_step(drips: Drips) -> None:
    answer = await drips.call("POST", "/drips", {**DRIP, "steps": [{**MAIL, "text": "{{ nobody_knows }}"}]})
    assert answer.error == (422, "invalid_drip")
    assert [fault["at"] for fault in answer.body["errors"]] == ["steps.0.text"]


async def test_a_name_that_is_taken_is_a_fault_of_the_name(drips: Drips) -> None:
    await drips.make()
    other = await drips.make(name="Other")
    for answer in (
        await drips.call("POST", "/drips", DRIP),
        await drips.call("PATCH", f"/drips/{other['id']}", {"name": "Course"}),
        await drips.call("POST", f"/drips/{other['id']}/preview", {"name": "Course"}),
    ):
        assert answer.error == (422, "invalid_drip")
        assert [fault["at"] for fault in answer.body["errors"]] == ["name"]


async def test_a_definition_may_be_larger_than_other_bodies(drips: Drips) -> None:
    steps = [{"subject": f"mail {number}", "text": "Hello. " * 5_000} for number in range(20)]
    assert len((await drips.make(steps=steps))["steps"]) == 20


async def test_drips_are_listed_in_pages(drips: Drips) -> None:
    made = [(await drips.make(name=f"Course {number}"))["id"] for number in range(3)]
    first = await drips.get("/drips?limit=2")
    second = await drips.get(f"/drips?limit=2&cursor={first['cursor']}")
    assert [drip["id"] for page in (first, second) for drip in page["drips"]] == made
    assert second["cursor"] is None
    await drips.post(f"/drips/{made[0]}/archive")
    assert [drip["id"] for drip in (await drips.get("/drips?state=archived"))["drips"]] == made[:1]


async def test_a_patch_changes_what_it_names(drips: Drips) -> None:
    drip = await drips.make(goals=["order.paid"])
    changed = (await drips.patch(f"/drips/{drip['id']}", {"max_per_hour": 60, "goals": None}))["drip"]
    assert changed["definition"]["max_per_hour"] == 60
    assert "goals" not in changed["definition"]
    assert changed["definition"]["steps"] == drip["definition"]["steps"]


async def test_a_stale_edit_is_refused_with_the_version_that_is(drips: Drips) -> None:
    drip = await drips.make()
    await drips.patch(f"/drips/{drip['id']}", {"max_per_hour": 60, "version": 1})
    answer = await drips.call("PATCH", f"/drips/{drip['id']}", {"max_per_hour": 70, "version": 1})
    assert answer.error == (409, "version_conflict")
    assert answer.body["version"] == 2


async def test_a_preview_tells_and_changes_nothing(drips: Drips) -> None:
    drip = await drips.make()
    await drips.put_in(drip["id"])
    described = {**DRIP, "steps": [{**MAIL, "delay": "30 minutes"}, LATER]}
    for path, body in (("preview", {"steps": described["steps"]}), ("preview?replace=true", described)):
        preview = (await drips.post(f"/drips/{drip['id']}/{path}", body))["preview"]
        assert (preview["active"], preview["is_exact"]) == (1, True)
        assert (preview["steps_kept"], preview["steps_added"]) == (2, 0)
    assert (await drips.get(f"/drips/{drip['id']}"))["drip"]["version"] == 1


async def test_pausing_and_resuming(drips: Drips) -> None:
    drip = await drips.make(catch_up="skip")
    await drips.put_in(drip["id"])
    paused = await drips.post(f"/drips/{drip['id']}/pause")
    assert paused["drip"]["state"] == "paused"
    seen = await drips.post(f"/drips/{drip['id']}/resume", {"dry_run": True})
    assert (seen["drip"]["state"], seen["resumed"]["overdue"]) == ("paused", 1)
    assert (seen["resumed"]["was"], seen["resumed"]["catch_up"]) == ("paused", "skip")
    assert (await drips.post(f"/drips/{drip['id']}/resume"))["drip"]["state"] == "live"


async def test_states_that_do_not_go_together_are_conflicts(drips: Drips) -> None:
    draft = await drips.make(state="draft")
    assert (await drips.call("POST", f"/drips/{draft['id']}/pause")).error == (409, "drip_is_a_draft")
    await drips.post(f"/drips/{draft['id']}/archive")
    for method, path in (("POST", "/pause"), ("POST", "/resume"), ("PATCH", "")):
        answer = await drips.call(method, f"/drips/{draft['id']}{path}", {})
        assert answer.error == (409, "drip_archived")


async def test_a_patch_resumes_nothing(drips: Drips) -> None:
    drip = await drips.make()
    await drips.post(f"/drips/{drip['id']}/pause")
    answer = await drips.call("PATCH", f"/drips/{drip['id']}", {"state": "live"})
    assert answer.error == (422, "invalid_drip")
    assert [fault["at"] for fault in answer.body["errors"]] == ["state"]


async def test_a_drip_whose_runs_are_being_moved_along_is_not_resumed(drips: Drips) -> None:
    drip = await drips.make()
    await drips.post(f"/drips/{drip['id']}/pause")
    await drips.brand.pool.execute(
        "INSERT INTO drip_jobs (drip_id, kind) VALUES ($1, 'respace')", int(drip["id"])
    )
    assert (await drips.call("POST", f"/drips/{drip['id']}/resume")).error == (409, "drip_is_respaced")


async def test_failed_runs_are_retried(drips: Drips) -> None:
    drip = await drips.make()
    await drips.put_in(drip["id"])
    await drips.brand.pool.execute("UPDATE drip_enrollments SET state = 'failed', next_run_at = NULL")
    assert (await drips.post(f"/drips/{drip['id']}/retry"))["retried"] == 1


async def test_runs_are_listed_by_state_and_by_subscriber(drips: Drips) -> None:
    drip = await drips.make()
    people = [await drips.put_in(drip["id"], f"reader{number}@example.com") for number in range(3)]
    path = f"/drips/{drip['id']}/runs"

    async def listed(query: str) -> list[int]:
        return [run["subscriber_id"] for run in (await drips.get(f"{path}?{query}"))["runs"]]

    first = await drips.get(f"{path}?limit=2")
    assert [run["subscriber_id"] for run in first["runs"]] == people[:2]
    assert await listed(f"cursor={first['cursor']}") == people[2:]
    assert await listed("state=completed") == []
    assert await listed("state=active&subscriber=reader1%40example.com") == people[1:2]
    assert await listed(f"subscriber={people[2]}") == people[2:]
    assert (await drips.call("GET", f"{path}?subscriber=nobody%40example.com")).error == (
        404,
        "subscriber_not_found",
    )


async def test_runs_of_a_subscriber_are_listed_over_all_drips(drips: Drips) -> None:
    made = [(await drips.make(name=name))["id"] for name in ("One", "Two")]
    subscriber, _ = [await drips.put_in(drip) for drip in made]
    for who in (subscriber, quote(READER)):
        first = await drips.get(f"/runs?subscriber={who}&limit=1")
        last = await drips.get(f"/runs?subscriber={who}&limit=1&cursor={first['cursor']}")
        assert [run["drip_id"] for page in (first, last) for run in page["runs"]] == made[::-1]
        assert last["cursor"] is None
    assert (await drips.call("GET", "/runs")).error == (422, "invalid_subscriber")


async def test_a_run_is_shown_and_explained(drips: Drips) -> None:
    drip = await drips.make()
    subscriber = await drips.put_in(drip["id"])
    await advance_drips(drips.brand.pool, now=datetime.now(UTC), behind=0, batch=10)  # noqa: TID251
    run = await drips.run_id()
    shown = await drips.get(f"/runs/{run}")
    assert (shown["run"]["id"], shown["run"]["subscriber_id"]) == (run, subscriber)
    assert [(entry["what"], entry["label"]) for entry in shown["history"]] == [
        ("enrolled", None),
        ("mail", "hello"),
    ]
    explained = (await drips.get(f"/runs/{run}/explain"))["explanation"]
    assert [step["verdict"] for step in explained["steps"]] == ["queued", "next"]
    assert "step 2 (later)" in explained["summary"]


async def test_whoever_is_taken_out_of_a_drip_gets_nothing_more_of_it(drips: Drips) -> None:
    drip = await drips.make()
    await drips.put_in(drip["id"])
    await advance_drips(drips.brand.pool, now=datetime.now(UTC), behind=0, batch=10)  # noqa: TID251
    run = await drips.run_id()
    ended = await drips.post(f"/runs/{run}/exit")
    assert (ended["run"]["state"], ended["run"]["exit_reason"]) == ("exited", "removed")
    assert [entry["detail"].get("state") for entry in ended["history"]] == [None, "cancelled", "exited"]
    assert await drips.post(f"/runs/{run}/exit") == ended
    assert (await drips.get(f"/drips/{drip['id']}"))["drip"]["runs"]["exited"] == 1
    told = (await drips.get(f"/runs/{run}/explain"))["explanation"]["summary"]
    assert "because somebody took the subscriber out" in told


async def test_answers_about_runs_hold_no_address(drips: Drips) -> None:
    drip = await drips.make()
    await drips.put_in(drip["id"])
    run = await drips.run_id()
    for path in (f"/drips/{drip['id']}/runs", f"/runs/{run}", f"/runs/{run}/explain"):
        answer = await drips.call("GET", path)
        assert answer.status == 200
        assert "@" not in answer.raw.decode()


async def test_a_drip_is_simulated_for_somebody(drips: Drips) -> None:
    await drips.brand.topic("vip")
    await drips.brand.field("plan")
    ask = {"all": [{"topic": "vip"}, {"field": "plan", "is": "paid"}, {"field": "city", "is": "Lisbon"}]}
    drip = await drips.make(steps=[MAIL, {"condition": {"if": ask, "otherwise": "exit"}}, LATER])
    subscriber = await drips.brand.subscriber(tags=("vip",), city="Lisbon", custom_fields={"plan": "paid"})
    path = f"/drips/{drip['id']}/simulate?from=2030-01-01T08:00Z"

    async def got(query: str) -> list[Any]:
        found = (await drips.get(f"{path}{query}"))["simulation"]
        return [(step["label"], step["at"]) for step in found["steps"] if step["kind"] == "send"]

    both = [("hello", "2030-01-01T08:00:00.000+00:00"), ("later", "2030-01-02T08:00:00.000+00:00")]
    assert await got("") == both[:1]
    assert await got("&topics=vip,unknown&field.plan=paid") == both[:1]
    assert await got("&topics=vip,unknown&field.plan=paid&field.city=Lisbon") == both
    assert await got(f"&subscriber={subscriber}") == both


async def test_steps_far_ahead_are_simulated(drips: Drips) -> None:
    drip = await drips.make(steps=[{**MAIL, "delay": "3650 days", "label": f"m{n}"} for n in range(200)])
    simulated = await drips.get(f"/drips/{drip['id']}/simulate?from=2999-12-31")
    assert simulated["simulation"]["steps"][-1]["at"].startswith("4998")


async def test_a_date_that_means_never_is_refused_in_a_step_and_ignored_in_a_field(drips: Drips) -> None:
    never = "9999-12-31"
    refused = await drips.call("POST", "/drips", {**DRIP, "steps": [{"wait_until": {"date": never}}]})
    assert [fault["at"] for fault in refused.body["errors"]] == ["steps.0.wait_until.date"]
    await drips.brand.field("ends")
    drip = await drips.make(trigger="date", field="ends", days=1)
    await drips.brand.subscriber(custom_fields={"ends": never})
    simulated = (await drips.get(f"/drips/{drip['id']}/simulate?subscriber={READER}"))["simulation"]
    assert any("no date to come" in note for note in simulated["notes"])


async def test_the_numbers_are_told_step_by_step(drips: Drips) -> None:
    drip = await drips.make()
    await drips.put_in(drip["id"])
    stats = (await drips.get(f"/drips/{drip['id']}/stats"))["stats"]
    assert stats["runs"]["active"] == 1
    assert [(step["label"], step["waiting"]) for step in stats["steps"]] == [("hello", 1), ("later", 0)]


async def test_an_event_is_reported(drips: Drips) -> None:
    subscriber = await drips.brand.subscriber()
    sent = {"email": READER, "event": "order.paid", "properties": {"total": 49}}
    answer = await drips.post("/events", sent)
    event = (await drips.brand.events())[-1]
    assert (answer["subscriber_id"], answer["event_id"]) == (subscriber, str(event["event_id"]))
    assert event["data"]["event"] == {"name": "order.paid", "properties": {"total": 49}}
    assert drips.api.woken


async def test_an_event_that_is_sent_again_with_its_id_is_answered_as_the_first_time(drips: Drips) -> None:
    await drips.brand.subscriber()
    sent = {"id": "order-1", "email": READER, "event": "order.paid"}
    first = await drips.post("/events", sent)
    assert await drips.post("/events", {**sent, "email": "nobody@example.com", "event": "a"}) == first
    assert (await drips.brand.event_types()).count("event.reported") == 1


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ({"event": "a"}, (422, "missing_subscriber_identifier")),
        ({"email": "nobody", "event": "a"}, (422, "invalid_email")),
        ({"email": "nobody@example.com", "event": "a"}, (404, "subscriber_not_found")),
        ({"email": READER}, (422, "invalid_event")),
        ({"email": READER, "event": "two words"}, (422, "invalid_event")),
        ({"email": READER, "event": "a", "id": ""}, (422, "invalid_id")),
        ({"email": READER, "event": "a", "id": "two words"}, (422, "invalid_id")),
        ({"email": READER, "event": "a", "id": "x\n"}, (422, "invalid_id")),
        ({"email": READER, "event": "a", "id": "x" * 65}, (422, "invalid_id")),
        ({"email": READER, "event": "a", "id": 1}, (422, "invalid_id")),
        ({"email": READER, "event": "a", "properties": []}, (422, "invalid_properties")),
        ({"email": READER, "event": "a", "properties": {"a": {}}}, (422, "invalid_properties")),
        ({"email": READER, "event": "a", "properties": {"a": "x" * 1001}}, (422, "properties_too_long")),
    ],
)
async def test_an_event_that_is_none_is_refused(
    drips: Drips, sent: dict[str, object], error: tuple[int, str]
) -> None:
    await drips.brand.subscriber()
    assert (await drips.call("POST", "/events", sent)).error == error


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/drips?state=asleep", "invalid_state"),
        ("/drips?limit=0", "invalid_limit"),
        ("/drips?cursor=x", "invalid_cursor"),
        ("/drips/1/runs?state=asleep", "invalid_state"),
        ("/drips/1/runs?cursor=1", "invalid_cursor"),
        ("/drips/1/runs?subscriber=nobody", "invalid_subscriber"),
        ("/drips/1/runs?subscriber=0", "invalid_subscriber"),
        ("/drips/1/simulate?from=soon", "invalid_from"),
        ("/drips/1/simulate?from=3000-01-01", "invalid_from"),
        ("/drips/1/simulate?subscriber=%00", "invalid_subscriber"),
        ("/drips/1/simulate?topics=%00", "invalid_topics"),
        ("/drips/1/simulate?field.plan=%00", "invalid_fields"),
    ],
)
async def test_what_stands_behind_the_question_mark_is_read_strictly(
    drips: Drips, path: str, code: str
) -> None:
    drip = await drips.make()
    answer = await drips.call("GET", path.replace("/drips/1/", f"/drips/{drip['id']}/"))
    assert answer.error == (422, code)


async def test_enrolling_stays_as_it_is_documented(drips: Drips) -> None:
    drip = await drips.make()
    subscriber = await drips.brand.subscriber()
    answer = await drips.api.post(
        f"/api/v1/drips/{drip['id']}/enroll", {"email": READER}, key=drips.brand.key
    )
    assert answer.body == {
        "ok": True,
        "subscriber_id": subscriber,
        "drip_id": drip["id"],
        "already_enrolled": False,
    }
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("scope", KeyScope)
async def test_a_key_may_do_what_its_scope_says(drips: Drips, scope: KeyScope) -> None:
    await drips.brand.subscriber()
    async with drips.brand.pool.acquire() as connection:
        made = await create_key(connection, drips.brand.brand, name="one scope", scopes=[scope])
    event = await drips.call("POST", "/events", EVENT, key=made.key)
    drip = await drips.call("POST", "/drips", DRIP, key=made.key)
    assert event.status == 200
    assert drip.status == (200 if scope is KeyScope.DRIPS_WRITE else 403)


async def test_steps_that_fall_due_in_the_middle_of_an_edit_are_not_lost(drips: Drips) -> None:
    drip = await drips.make()
    await drips.put_in(drip["id"])
    await drips.put(f"/drips/{drip['id']}", {**DRIP, "steps": [{**MAIL, "subject": "New words"}, LATER]})
    now = datetime.now(UTC) + timedelta(days=2)  # noqa: TID251
    for day in range(2):
        await advance_drips(drips.brand.pool, now=now + timedelta(days=day), behind=0, batch=10)
    assert await drips.brand.pool.fetchval("SELECT count(*) FROM messages") == 2
