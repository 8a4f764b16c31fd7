"""Drips that nobody thought of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time, timedelta

from hypothesis import strategies as st

from mailement_newsletter.rules.drip_conditions import Condition
from mailement_newsletter.rules.drip_definition import (
    AddTopic,
    Branch,
    CatchUp,
    Delay,
    DripDefinition,
    DripTrigger,
    DripZone,
    Exit,
    ReEnroll,
    RemoveTopic,
    Send,
    Step,
    WaitUntil,
    Webhook,
    Window,
    WrittenState,
)

TOPICS = ("news", "vip", "trial")
FIELDS = ("age", "plan")

_MINUTES = st.builds(lambda minutes: time(minutes // 60, minutes % 60), st.integers(0, 24 * 60 - 1))
_DAYS = st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True).map(lambda days: tuple(sorted(days)))
_DELAYS = st.one_of(
    st.just(timedelta(0)),
    st.integers(1, 600).map(lambda minutes: timedelta(minutes=minutes)),
    st.integers(1, 40).map(lambda hours: timedelta(hours=hours)),
    st.integers(1, 200).map(lambda days: timedelta(days=days)),
)
_WINDOWS = st.builds(
    lambda ends, days: Window(opens=ends[0], closes=ends[1], days=days),
    st.tuples(_MINUTES, _MINUTES).filter(lambda ends: ends[0] != ends[1]),
    _DAYS,
) | _DAYS.filter(lambda days: len(days) < 7).map(lambda days: Window(days=days))
_WAITS = (
    st.builds(WaitUntil, on=st.dates(date(2026, 1, 1), date(2028, 12, 31)), at=st.none() | _MINUTES)
    | st.builds(WaitUntil, weekdays=_DAYS, at=st.none() | _MINUTES)
    | st.builds(WaitUntil, at=_MINUTES)
)


_ABOUT_TOPICS: st.SearchStrategy[Condition] = st.sampled_from(TOPICS).map(lambda slug: {"topic": slug})


def conditions(mails: Sequence[str]) -> st.SearchStrategy[Condition]:
    """`mails`: labels of the steps before that send one."""
    leaves: list[st.SearchStrategy[Condition]] = [
        st.just({"always": True}),
        st.sampled_from(TOPICS).map(lambda slug: {"topic": slug}),
        st.integers(0, 50).map(lambda number: {"field": "age", "above": number}),
        st.sampled_from(["free", "paid"]).map(lambda plan: {"field": "plan", "is": plan}),
        st.booleans().map(lambda exists: {"field": "first_name", "exists": exists}),
    ]
    if mails:
        leaves.append(st.sampled_from(mails).map(lambda label: {"opened": label}))
    return st.recursive(
        st.one_of(leaves),
        lambda inner: (
            inner.map(lambda part: {"not": part})
            | st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts})
            | st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts})
        ),
        max_leaves=4,
    )


@st.composite
def definitions(draw: st.DrawFn, *, trigger: DripTrigger | None = None) -> DripDefinition:
    """Drips that are valid, with every kind of step; each step has a label."""
    count = draw(st.integers(1, 9))
    labels = [f"s{number}" for number in range(count)]
    steps: list[Step] = []
    mails: list[str] = []
    for number, label in enumerate(labels):
        later = st.none() | st.sampled_from(labels[number + 1 :]) if number + 1 < count else st.none()
        action = draw(
            st.one_of(
                st.just(Send(subject=label, text="Hello.")),
                st.just(Send(subject=label, html="<p>Hello.</p>")),
                st.just(Delay()),
                _WAITS,
                st.builds(Branch, condition=conditions(mails), then=later, otherwise=later | st.just("exit")),
                st.builds(Branch, condition=conditions(mails), then=later, otherwise=later),
                st.builds(Branch, condition=_ABOUT_TOPICS, then=later, otherwise=later),
                st.sampled_from(TOPICS).map(AddTopic),
                st.sampled_from(TOPICS).map(RemoveTopic),
                st.just(Webhook("crm")),
                st.just(Exit()) if draw(st.integers(0, 4)) == 0 else st.just(Delay()),
            )
        )
        if isinstance(action, Send):
            mails.append(label)
        steps.append(Step(action=action, delay=draw(_DELAYS), label=label))
    started_by = trigger or draw(st.sampled_from(list(DripTrigger)))
    is_date = started_by is DripTrigger.DATE
    return DripDefinition(
        name="Course",
        trigger=started_by,
        topic="news" if started_by is DripTrigger.TOPIC_ADDED else None,
        event="order.paid" if started_by is DripTrigger.EVENT else None,
        field="plan" if is_date else None,
        days=draw(st.integers(-366, 366)) if is_date else 0,
        yearly=is_date and draw(st.booleans()),
        at=draw(_MINUTES) if is_date else time(9),
        re_enroll=draw(st.sampled_from(ReEnroll)),
        catch_up=draw(st.sampled_from(CatchUp)),
        zone=draw(st.sampled_from(DripZone)),
        window=draw(st.none() | _WINDOWS),
        goals=draw(st.just(()) | st.just(("order.paid",))),
        evergreen=draw(st.booleans()),
        state=draw(st.none() | st.just(WrittenState.LIVE)),
        steps=tuple(steps),
    )
