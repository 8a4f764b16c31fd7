from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mailement_mailer.providers.destinations import (
    DEFAULT_LIMITS,
    ComeBack,
    Destinations,
    Go,
    Group,
    Limits,
    Queue,
    Traffic,
)

HOUR = 3600.0


@pytest.mark.parametrize(
    ("recipient", "name"),
    [
        ("ada@gmail.com", "google"),
        ("ada@GMAIL.com", "google"),
        ('"a@b"@googlemail.com', "google"),
        ("ada@yahoo.com", "yahoo"),
        ("ada@yahoo.co.uk", "yahoo"),
        ("ada@yahoo.com.br", "yahoo"),
        ("ada@yahoo.fr", "yahoo"),
        ("ada@aol.com", "yahoo"),
        ("ada@outlook.com", "microsoft"),
        ("ada@hotmail.co.uk", "microsoft"),
        ("ada@live.nl", "microsoft"),
        ("ada@msn.com", "microsoft"),
        ("ada@me.com", "icloud"),
        ("ada@gmx.net", "gmx"),
        ("ada@web.de", "gmx"),
        ("ada@comcast.net", "comcast"),
        ("ada@wanadoo.fr", "orange"),
        ("ada@Example.org", "example.org"),
        ("ada@mail.yahoo.example.com", "mail.yahoo.example.com"),
        ("ada@yahoo.evil.example", "yahoo.evil.example"),
        ("ada@gmail.com.example", "gmail.com.example"),
        ("ada@localhost", "localhost"),
        ("ada@", ""),
    ],
)
def test_addresses_go_to_their_mailbox_provider(recipient: str, name: str) -> None:
    assert Destinations().of(recipient).name == name


def test_a_domain_that_nobody_knows_is_a_destination_of_its_own_with_the_usual_limits() -> None:
    assert Destinations().of("ada@example.org").limits == DEFAULT_LIMITS


def test_groups_can_be_others() -> None:
    own = Group(name="ours", limits=Limits(connections=1, mails=2), domains=frozenset({"example.org"}))
    destinations = Destinations([own], default=Limits(connections=3, mails=4))
    assert destinations.of("ada@example.org").limits == Limits(connections=1, mails=2)
    assert destinations.of("ada@gmail.com").limits == Limits(connections=3, mails=4)


def traffic(connections: int = 2) -> Traffic:
    return Traffic(Limits(connections=connections, mails=100))


def test_as_many_go_at_once_as_the_limit_allows_and_the_next_one_queues() -> None:
    to = traffic(2)
    assert [type(to.admit(0)) for _ in range(3)] == [Go, Go, Queue]
    assert not to.advance(0)
    to.done(0.1, taken=True)
    assert to.advance(0)
    assert not to.advance(0)


def test_nobody_overtakes_the_queue() -> None:
    to = traffic(1)
    assert [type(to.admit(0)) for _ in range(2)] == [Go, Queue]
    to.done(0.1, taken=True)
    assert isinstance(to.admit(0), Queue)


def test_who_would_have_to_wait_for_long_comes_back_one_after_the_other() -> None:
    to = traffic(2)
    answers = [to.admit(0) for _ in range(1000)]
    later = [answer.seconds for answer in answers if isinstance(answer, ComeBack)]
    # Two at once, each 0.2 s: twenty are in the queue, the others come at about the rate at which they go.
    assert len(later) == 1000 - 2 - 20
    assert later == sorted(later)
    assert 80 < later[-1] < 130
    assert not any(answer.rests for answer in answers if isinstance(answer, ComeBack))


def test_a_slow_destination_gets_a_short_queue() -> None:
    to = traffic(1)
    for _ in range(30):
        to.admit(0)
        to.done(20, taken=True)
    to.admit(0)
    assert isinstance(to.admit(0), ComeBack)


def test_nobody_is_sent_away_for_longer_than_ten_minutes() -> None:
    to = traffic(1)
    last = [to.admit(0) for _ in range(20_000)][-1]
    assert isinstance(last, ComeBack)
    assert last.seconds <= 600


def test_a_destination_that_sent_us_away_gets_nothing_before_its_rest_is_over() -> None:
    to = traffic()
    to.admit(0)
    assert to.rest(0, 600) == 600
    to.done(0.1, taken=False)
    answer = to.admit(599)
    assert isinstance(answer, ComeBack)
    assert answer.rests
    assert isinstance(to.admit(600), Go)


def test_after_a_rest_it_gets_one_connection_and_one_more_for_each_round() -> None:
    to = traffic(3)
    to.rest(0, 600)
    assert [type(to.admit(700)) for _ in range(2)] == [Go, Queue]
    to.done(0.1, taken=True)
    assert to.advance(700)
    assert [type(to.admit(700)) for _ in range(2)] == [Go, Queue]
    to.leave()
    for _ in range(2):
        to.done(0.1, taken=True)
    assert [type(to.admit(700)) for _ in range(4)] == [Go, Go, Go, Queue]


def test_rests_get_longer_until_a_mail_is_taken() -> None:
    to = traffic()
    moment, rests = 0.0, []
    for _ in range(8):
        rests.append(to.rest(moment, None))
        moment += rests[-1]
    assert rests == [300, 600, 1200, 2400, 4800, 9600, 4 * HOUR, 4 * HOUR]
    to.admit(moment)
    to.done(0.1, taken=True)
    assert to.rest(moment, None) == 300


def test_mails_that_are_sent_away_together_are_one_refusal() -> None:
    to = traffic()
    assert to.rest(0, None) == 300
    assert to.rest(10, None) == 290
    assert to.rest(20, 600) == 600


def test_mails_that_came_back_during_a_rest_are_spread_behind_it() -> None:
    to = traffic()
    to.rest(0, 600)
    answers = [to.admit(1) for _ in range(100)]
    moments = [answer.seconds for answer in answers if isinstance(answer, ComeBack)]
    assert moments == sorted(set(moments))
    assert moments[0] == 599
    assert moments[-1] > 615


def test_who_gives_up_makes_room_in_the_queue() -> None:
    to = traffic(1)
    to.admit(0)
    to.admit(0)
    assert not to.give_up(5).rests
    assert to.queued == 0
    to.admit(5)
    to.rest(5, 60)
    assert to.give_up(5).rests


def test_what_says_nothing_new_can_be_forgotten() -> None:
    to = traffic()
    assert to.forgettable(0)
    to.admit(0)
    assert not to.forgettable(0)
    to.done(0.1, taken=True)
    assert to.forgettable(0)
    to.rest(0, 60)
    assert not to.forgettable(100)
    assert to.forgettable(100 + 4 * HOUR)


class AnyTraffic(RuleBasedStateMachine):
    @initialize(connections=st.integers(1, 5))
    def start(self, connections: int) -> None:
        self.to = traffic(connections)
        self.now = 0.0

    @rule(seconds=st.floats(0, 1000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def come(self) -> None:
        answer = self.to.admit(self.now)
        assert not isinstance(answer, ComeBack) or 1 <= answer.seconds <= 5 * HOUR

    @rule()
    def let_in(self) -> None:
        self.to.advance(self.now)

    @precondition(lambda self: self.to.under_way)
    @rule(seconds=st.floats(0, 100), taken=st.booleans())
    def finish(self, seconds: float, taken: bool) -> None:
        self.to.done(seconds, taken=taken)

    @precondition(lambda self: self.to.under_way)
    @rule(asked=st.none() | st.floats(0, 4 * HOUR))
    def be_sent_away(self, asked: float | None) -> None:
        assert self.to.rest(self.now, asked) >= 0
        self.to.done(0.1, taken=False)

    @precondition(lambda self: self.to.queued)
    @rule()
    def give_up(self) -> None:
        self.to.give_up(self.now)

    @invariant()
    def the_limit_holds(self) -> None:
        if hasattr(self, "to"):
            assert 0 <= self.to.under_way <= self.to.limits.connections
            assert self.to.queued >= 0
            assert 1 <= self.to.allowed <= self.to.limits.connections


def test_whatever_happens_no_destination_gets_more_than_its_limit() -> None:
    run_state_machine_as_test(AnyTraffic, settings=settings(max_examples=60, deadline=None))
