from __future__ import annotations

import string
from datetime import date, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailement_newsletter.errors import DripFault, InvalidDrip
from mailement_newsletter.ids import StepId
from mailement_newsletter.rules.drip_definition import (
    AddTopic,
    Branch,
    CatchUp,
    Delay,
    DripTrigger,
    DripZone,
    Exit,
    ExitReason,
    ReEnroll,
    RemoveTopic,
    Send,
    Step,
    WaitUntil,
    Webhook,
    Window,
    WrittenState,
    describe,
    fields_of,
    read_definition,
    topics_of,
)
from tests.support.drip_definitions import definitions

MAIL = {"subject": "Hello", "text": "Hello"}
WHOLE = {
    "name": "Course",
    "state": "draft",
    "trigger": "date",
    "field": "birthday",
    "days": -3,
    "yearly": True,
    "time": "08:15",
    "re_enroll": "after_end",
    "catch_up": "skip",
    "zone": "subscriber",
    "window": {"from": "09:00", "to": "17:30", "days": ["mon", "Tuesday", 5]},
    "exit_on": {"topics": ["news"]},
    "goals": ["order.paid"],
    "evergreen": True,
    "max_per_hour": 600,
    "version": 3,
    "steps": [
        {"label": "hello", "subject": "Hello", "html": "<p>Hello</p>", "text": "Hello"},
        {"delay": "2 days"},
        {"wait_until": {"weekdays": ["tue", 4], "time": "07:00"}},
        {
            "condition": {
                "if": {
                    "all": [{"opened": "hello"}, {"not": {"topic": "vip"}}, {"field": "age", "above": 17}]
                },
                "then": "offer",
                "otherwise": "exit",
            }
        },
        {"add_topic": "vip"},
        {"remove_topic": "trial"},
        {"webhook": "crm"},
        {"label": "offer", "delay": "1 hour", "id": 7, "subject": "Offer", "text": "Now"},
        {"wait_until": {"date": "2027-01-31"}},
        {"exit": "done"},
        {"exit": True},
    ],
}


def _faults(described: object) -> dict[str, str]:
    with pytest.raises(InvalidDrip) as refusal:
        read_definition(described)
    return {fault.at: fault.message for fault in refusal.value.faults}


def _drip(*steps: object, **settings: object) -> dict[str, object]:
    return {"name": "Course", "steps": list(steps) or [MAIL], **settings}


def _branch(condition: object, **leads: object) -> dict[str, object]:
    return {"condition": {"if": condition, **leads}}


def test_every_setting_is_read() -> None:
    drip = read_definition(WHOLE)
    assert (drip.name, drip.state, drip.trigger, drip.field) == (
        "Course",
        WrittenState.DRAFT,
        DripTrigger.DATE,
        "birthday",
    )
    assert (drip.days, drip.yearly, drip.at, drip.version) == (-3, True, time(8, 15), 3)
    assert (drip.re_enroll, drip.catch_up, drip.zone) == (
        ReEnroll.AFTER_END,
        CatchUp.SKIP,
        DripZone.SUBSCRIBER,
    )
    assert drip.window == Window(opens=time(9), closes=time(17, 30), days=(1, 2, 5))
    assert (drip.exit_topics, drip.goals, drip.evergreen, drip.max_per_hour) == (
        ("news",),
        ("order.paid",),
        True,
        600,
    )


def test_every_kind_of_step_is_read() -> None:
    steps = read_definition(WHOLE).steps
    assert [step.action for step in steps if not isinstance(step.action, Branch)] == [
        Send(subject="Hello", html="<p>Hello</p>", text="Hello"),
        Delay(),
        WaitUntil(weekdays=(2, 4), at=time(7)),
        AddTopic("vip"),
        RemoveTopic("trial"),
        Webhook("crm"),
        Send(subject="Offer", text="Now"),
        WaitUntil(on=date(2027, 1, 31)),
        Exit("done"),
        Exit(),
    ]
    assert (steps[7].label, steps[7].delay, steps[7].id) == ("offer", timedelta(hours=1), StepId(7))


def test_what_is_not_said_is_as_usual() -> None:
    drip = read_definition(_drip())
    assert (drip.trigger, drip.re_enroll, drip.catch_up, drip.zone) == ("manual", "never", "shift", "brand")
    assert (drip.window, drip.state, drip.evergreen, drip.max_per_hour) == (None, None, False, None)


def test_null_is_as_if_the_key_were_not_there() -> None:
    assert read_definition(_drip(window=None, goals=None, topic=None)) == read_definition(_drip())


@given(definitions())
def test_a_definition_that_is_described_is_read_as_the_same(drip: Any) -> None:
    assert read_definition(describe(drip)) == drip


def test_a_description_of_everything_comes_back() -> None:
    assert read_definition(describe(read_definition(WHOLE))) == read_definition(WHOLE)


@pytest.mark.parametrize(
    ("described", "at", "told"),
    [
        (None, "", "mapping"),
        ([], "", "mapping"),
        (_drip(colour="red"), "colour", "no such setting"),
        (_drip(state="paused"), "state", "one of draft, live"),
        (_drip(trigger="event"), "", "`event` goes with the trigger event"),
        (_drip(trigger="date"), "", "`field` goes with the trigger date"),
        (_drip(days=3), "days", "goes with the trigger date"),
        (_drip(trigger="date", field="born", days=367), "days", "from -366 to 366"),
        (_drip(trigger="event", event="two words"), "event", "an event's name"),
        (_drip(goals=["fine", "not fine"]), "goals.1", "an event's name"),
        (_drip(goals=[]), "goals", "a list of 1 to 50"),
        (_drip(window={}), "window", "`from` and `to`, or `days`"),
        (_drip(window={"from": "09:00"}), "window", "go together"),
        (_drip(window={"from": "09:00", "to": "09:00"}), "window", "empty"),
        (_drip(window={"days": []}), "window.days", "a list of 1 to 7"),
        (_drip(window={"days": ["mon", "someday"]}), "window.days.1", "a weekday"),
        (_drip(window={"from": "24:00", "to": "9:00"}), "window.to", "a time of day"),
        (_drip(max_per_hour=0), "max_per_hour", "from 1 to"),
        (_drip(evergreen="yes"), "evergreen", "true or false"),
        (_drip(exit_on={"topics": [7]}), "exit_on.topics.0", "this is text"),
        (_drip({**MAIL, "delay": "11 years"}), "steps.0.delay", "a delay is"),
        (_drip({**MAIL, "delay": "3651 days"}), "steps.0.delay", "at most ten years"),
        (_drip({**MAIL, "label": "exit"}), "steps.0.label", "calls the end"),
        (_drip({**MAIL, "label": "two words"}), "steps.0.label", "a label has"),
        (_drip({**MAIL, "label": "a"}, {**MAIL, "label": "a"}), "steps.1.label", 'called "a" already'),
        (_drip({**MAIL, "id": 7}, {**MAIL, "id": 7}), "steps.1.id", "this id already"),
        (_drip({}), "steps.0", "a step has a subject"),
        (_drip({**MAIL, "webhook": "crm"}), "steps.0", "one thing: subject or webhook"),
        (_drip({"wait_until": {}}), "steps.0.wait_until", "a date, weekdays or a time"),
        (_drip({"wait_until": {"date": "2027-02-30"}}), "steps.0.wait_until.date", "a date like"),
        (_drip({"wait_until": {"date": "3000-01-01"}}), "steps.0.wait_until.date", "2999 at the latest"),
        (
            _drip({"wait_until": {"date": "2027-02-01", "weekdays": [1]}}),
            "steps.0.wait_until",
            "not for both",
        ),
        (_drip({"exit": False}), "steps.0.exit", "true, or the reason"),
        *((_drip({"exit": reason}), "steps.0.exit", "take other words") for reason in ExitReason),
        (_drip(*[MAIL] * 201), "steps", "1 to 200 steps"),
        (_drip({"condition": {}}), "steps.0.condition.if", "Field required"),
        (
            _drip(_branch({"always": True}, then="b"), MAIL),
            "steps.0.condition.then",
            'no later step is called "b"',
        ),
        (
            _drip({**MAIL, "label": "a"}, _branch({"always": True}, then="a")),
            "steps.1.condition.then",
            'no later step is called "a"',
        ),
        (_drip(_branch({"always": True}, then="exit")), "steps.0.condition.then", "goes with `otherwise`"),
        (
            _drip(_branch({"opened": "b"}), {**MAIL, "label": "b"}),
            "steps.0.condition.if.opened",
            "no earlier step that sends",
        ),
        (
            _drip({"delay": "1 day", "label": "a"}, _branch({"any": [{"clicked": "a"}]})),
            "steps.1.condition.if.any.0.clicked",
            "no earlier step that sends",
        ),
        (_drip(_branch({})), "steps.0.condition.if", "asks for one of"),
        (_drip(_branch({"all": []})), "steps.0.condition.if.all", "a list of conditions"),
        (_drip(_branch({"always": False})), "steps.0.condition.if.always", "or it is left out"),
        (_drip(_branch({"topic": "a", "always": True})), "steps.0.condition.if", "asks for one of"),
        (_drip(_branch({"field": "age"})), "steps.0.condition.if", "compared by one of"),
        (_drip(_branch({"field": "age", "above": "17"})), "steps.0.condition.if.above", "a number"),
        (_drip(_branch({"field": "age", "above": float("nan")})), "steps.0.condition.if.above", "a number"),
        (_drip(_branch({"field": "age", "is": 2**60})), "steps.0.condition.if.is", "this is text, a number"),
        (_drip(_branch({"field": "age", "in": []})), "steps.0.condition.if.in", "a list of 1 to 100"),
        (_drip(_branch({"field": "a", "is": "b", "or": 1})), "steps.0.condition.if.or", "no such setting"),
        (_drip({**MAIL, "subject": "lone \ud800"}), "steps.0.subject", "cannot be stored"),
        (_drip({**MAIL, "text": "nul \x00"}), "steps.0.text", "cannot be stored"),
    ],
)
def test_a_fault_is_told_with_its_place(described: object, at: str, told: str) -> None:
    faults = _faults(described)
    assert told in faults[at], faults


def test_every_fault_is_told_at_once() -> None:
    faults = _faults(
        _drip(
            {"subject": "", "delay": "soon"},
            _branch({"topic": 7}, then="nowhere"),
            {"webhook": 3},
            trigger="never",
            name=None,
        )
    )
    assert set(faults) == {
        "name",
        "trigger",
        "steps.0",
        "steps.0.subject",
        "steps.0.delay",
        "steps.1.condition.if.topic",
        "steps.1.condition.then",
        "steps.2.webhook",
    }


def test_a_refusal_names_at_most_a_hundred_faults() -> None:
    assert len(_faults(_drip(*[{"subject": "", "text": ""}] * 200))) <= 100


def _nested(levels: int) -> object:
    return {"always": True} if levels == 1 else {"not": _nested(levels - 1)}


def test_conditions_stand_in_each_other_ten_times_at_most() -> None:
    assert read_definition(_drip(_branch(_nested(10)))).steps
    assert any("at most 10 in each other" in told for told in _faults(_drip(_branch(_nested(11)))).values())


def test_a_condition_has_fifty_parts_at_most() -> None:
    assert read_definition(_drip(_branch({"all": [{"always": True}] * 49}))).steps
    assert any(
        "at most 50 parts" in told
        for told in _faults(_drip(_branch({"all": [{"always": True}] * 50}))).values()
    )


def test_a_condition_that_holds_itself_comes_to_an_end() -> None:
    endless: dict[str, object] = {}
    endless["not"] = endless
    wide: dict[str, object] = {}
    wide["all"] = [wide] * 1000
    assert _faults(_drip(_branch(endless)))
    assert _faults(_drip(_branch(wide)))


def test_topics_and_fields_are_found_wherever_they_stand() -> None:
    drip = read_definition(WHOLE)
    assert {slug: ".".join(map(str, at)) for slug, at in topics_of(drip).items()} == {
        "news": "exit_on.topics.0",
        "vip": "steps.3.condition.if.all.1.not.topic",
        "trial": "steps.5.remove_topic",
    }
    assert {key: ".".join(map(str, at)) for key, at in fields_of(drip).items()} == {
        "birthday": "field",
        "age": "steps.3.condition.if.all.2.field",
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_KEYS = [
    "id",
    "label",
    "delay",
    "subject",
    "html",
    "text",
    "wait_until",
    "condition",
    "add_topic",
    "remove_topic",
    "webhook",
    "exit",
    "if",
    "then",
    "otherwise",
    "all",
    "any",
    "not",
    "always",
    "topic",
    "opened",
    "clicked",
    "field",
    "is",
    "above",
    "date",
    "weekdays",
    "time",
    "from",
    "to",
    "days",
]
_STEPISH = st.recursive(
    _JSON,
    lambda inner: st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*WHOLE]), _STEPISH, max_size=6) | _JSON)
def test_whatever_is_given_is_read_or_refused(described: object) -> None:
    faults: tuple[DripFault, ...] = ()
    try:
        read_definition(described)
    except InvalidDrip as refusal:
        faults = refusal.faults
    assert all(fault.at.isprintable() and fault.message for fault in faults)


def test_steps_may_have_no_label_and_no_delay() -> None:
    assert read_definition(_drip(MAIL)).steps == (Step(action=Send(subject="Hello", text="Hello")),)
