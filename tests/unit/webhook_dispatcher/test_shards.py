"""How dispatchers divide the shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailement_webhook_dispatcher.shards import ALL_SHARDS, share, surplus
from mailement_webhooks.ids import Shard


@given(st.integers(1, 100))
def test_shares_cover_all_and_differ_as_little_as_may_be(replicas: int) -> None:
    assert share(replicas) * replicas >= len(ALL_SHARDS) > (share(replicas) - 1) * replicas


def test_one_that_is_alone_has_all() -> None:
    assert share(1) == 64


def test_what_is_given_up_first_is_what_nothing_is_under_way_for() -> None:
    owned = [Shard(number) for number in range(6)]

    assert surplus(owned, {Shard(0), Shard(2)}, 3) == {Shard(1), Shard(3), Shard(4)}
    assert surplus(owned, {Shard(0), Shard(2)}, 1) == {Shard(0), Shard(1), Shard(3), Shard(4), Shard(5)}


def test_a_share_that_is_not_full_gives_up_nothing() -> None:
    assert surplus([Shard(1)], (), 32) == frozenset()
