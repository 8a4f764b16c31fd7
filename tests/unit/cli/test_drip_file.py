from __future__ import annotations

from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailement_cli.drip_file import read_drip
from mailement_cli.session import Fault
from mailement_newsletter.rules.drip_definition import (
    DripTrigger,
    Send,
    Step,
    StepKind,
    WaitUntil,
    Window,
    kind_of,
)

STEP = {"delay": 0, "subject": "Welcome", "text": "Hello"}


def _drip(**changes: Any) -> str:
    described = {"name": "Welcome", "steps": [STEP], **changes}
    return yaml.safe_dump({name: value for name, value in described.items() if value is not None})


def _fault(text: str) -> str:
    with pytest.raises(Fault) as refusal:
        read_drip(text)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_description_is_read_as_it_stands() -> None:
    drip = read_drip(
        """
        name: Onboarding
        trigger: topic_added
        topic: weekly-digest
        steps:
          - {delay: 0, subject: "Hi {{ first_name }}", html: <p>Hello</p>}
          - {delay: 2 days, subject: More, text: Hello, html: <p>Hello</p>}
        """
    )

    assert (drip.name, drip.trigger, drip.topic) == ("Onboarding", DripTrigger.TOPIC_ADDED, "weekly-digest")
    assert list(drip.steps) == [
        Step(delay=timedelta(0), action=Send(subject="Hi {{ first_name }}", html="<p>Hello</p>")),
        Step(delay=timedelta(days=2), action=Send(subject="More", html="<p>Hello</p>", text="Hello")),
    ]


def test_a_drip_without_a_trigger_starts_by_hand() -> None:
    assert read_drip(_drip()).trigger is DripTrigger.MANUAL


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0, timedelta(0)),
        ("0", timedelta(0)),
        ("90 seconds", timedelta(seconds=90)),
        ("1 minute", timedelta(minutes=1)),
        ("10minutes", timedelta(minutes=10)),
        (" 3  Hours ", timedelta(hours=3)),
        ("2 days", timedelta(days=2)),
        ("1 week", timedelta(weeks=1)),
        ("3650 days", timedelta(days=3650)),
    ],
)
def test_delays_are_numbers_with_units(written: object, meant: timedelta) -> None:
    assert read_drip(_drip(steps=[{**STEP, "delay": written}])).steps[0].delay == meant


@pytest.mark.parametrize(
    "delay",
    [5, "5", -1, "-1 days", "1.5 days", "soon", "1 month", "3651 days", "", None, [], True, False, 0.0],
)
def test_any_other_delay_is_refused(delay: object) -> None:
    assert "steps.0.delay" in _fault(yaml.safe_dump({"name": "A", "steps": [{**STEP, "delay": delay}]}))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_drip(name=None), "name: Field required"),
        (_drip(name=""), "name: "),
        (_drip(name="x" * 201), "name: "),
        (_drip(name=7), "name: "),
        (_drip(steps=None), "steps: Field required"),
        (_drip(steps=[]), "steps: "),
        (_drip(steps="now"), "steps: "),
        (_drip(steps=["now"]), "steps.0: "),
        (_drip(steps=[{**STEP, "subject": ""}]), "steps.0.subject: "),
        (_drip(steps=[{"delay": 0, "text": "a"}]), "steps.0.subject: Field required"),
        (_drip(steps=[{"delay": 0, "subject": "a"}]), "a step has html or text"),
        (_drip(steps=[{**STEP, "text": ""}]), "a step has html or text"),
        (_drip(steps=[{**STEP, "body": "a"}]), "steps.0.body: "),
        (_drip(trigger="birthday"), "trigger: "),
        (_drip(trigger="topic_added"), "`topic` goes with the trigger topic_added"),
        (_drip(topic="news"), "`topic` goes with the trigger topic_added"),
        (_drip(trigger="topic_added", topic=""), "topic: "),
        (_drip(state="paused"), "state: "),
        ("", "the drip file: "),
        ("just words", "the drip file: "),
        ("- a\n- b", "the drip file: "),
        ("name: [", "the drip file is not YAML"),
        ("name: !!python/object:os.system x", "the drip file is not YAML"),
        ("a: b\x00", "the drip file is not YAML"),
        ("name: a\nname: b", "the key 'name' comes twice"),
        ("&a [*a]", "the drip file: "),
        (_drip(name="a\x00b"), "name: "),
        (_drip(steps=[{**STEP, "subject": "two\nlines"}]), "steps.0.subject: "),
        (_drip(steps=[{**STEP, "text": "nul\x00"}]), "steps.0.text: "),
    ],
)
def test_a_fault_is_told_in_one_line_with_its_place(text: str, told: str) -> None:
    assert told in _fault(text)


def test_every_fault_is_told_at_once() -> None:
    fault = _fault(_drip(name="", steps=[{**STEP, "delay": "soon"}, {"delay": 0, "subject": ""}]))

    assert all(place in fault for place in ("name: ", "steps.0.delay: ", "steps.1.subject: "))


def test_times_and_dates_mean_what_they_look_like() -> None:
    drip = read_drip(
        """
        name: Hours
        window: {from: 17:00, to: 08:30, days: [mon, 7]}
        steps:
          - wait_until: {date: 2027-01-31, time: 09:30}
        """
    )
    assert drip.window == Window(opens=time(17), closes=time(8, 30), days=(1, 7))
    assert drip.steps[0].action == WaitUntil(on=date(2027, 1, 31), at=time(9, 30))


def test_the_documentation_shows_a_drip_that_is_one() -> None:
    page = (Path(__file__).parents[3] / "docs" / "drips.md").read_text()
    drip = read_drip(page.partition("```yaml\n")[2].partition("```")[0])
    assert {kind_of(step.action) for step in drip.steps} >= set(StepKind) - {StepKind.REMOVE_TOPIC}
    assert drip.window == Window(opens=time(9), closes=time(17, 30), days=(1, 2, 3, 4, 5))
