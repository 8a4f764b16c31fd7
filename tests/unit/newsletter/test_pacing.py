from __future__ import annotations

from datetime import timedelta

import pytest

from mailement_newsletter.rules.pacing import Bucket, Want, bucket_for

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("limit", [1, 2, 5, 9, 10, 11, 50, 100, 1000])
def test_no_window_can_hold_more_than_the_limit(limit: int) -> None:
    bucket = bucket_for("account:1", limit=limit, window=SECOND)
    # Of evenly spaced mails so many begin in a window, and the burst comes on top.
    assert bucket.burst + int(SECOND / bucket.interval) <= limit
    assert SECOND / bucket.interval == pytest.approx(0.9 * limit, rel=1e-3)


def test_a_provider_with_a_small_limit_gets_one_mail_at_a_time() -> None:
    assert bucket_for("account:1", limit=5, window=SECOND).burst == 1


def test_a_rate_below_one_a_second_is_that_of_a_longer_window() -> None:
    assert bucket_for("account:1", limit=0.1, window=SECOND).interval >= timedelta(seconds=10)


def test_a_want_without_places_has_no_limits() -> None:
    assert not Want(mails=3).limited
    assert Want(mails=3, buckets=[Bucket(key="account:1")]).limited
