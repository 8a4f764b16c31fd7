"""Which of several addresses are tried, and which of several failures is told."""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest

from mailement_webhook_dispatcher.http.dial import in_turn, most_telling

_V4 = [ip_address(f"192.0.2.{last}") for last in range(1, 10)]
_V6 = [ip_address(f"2001:db8::{last}") for last in range(1, 10)]

_REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
_TOO_LATE = TimeoutError()
_NO_IPV6_HERE = [
    OSError(number, "no way")
    for number in (errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT)
]


def test_four_addresses_are_tried_however_many_there_are() -> None:
    """Each gets its share of the time: with a hundred there would be too little for any."""
    assert in_turn(_V4) == _V4[:4]


def test_both_families_have_their_turn_in_the_order_of_the_name_service() -> None:
    assert in_turn([*_V6, *_V4]) == [_V6[0], _V4[0], _V6[1], _V4[1]]
    assert in_turn([_V4[0], *_V6]) == [_V4[0], _V6[0], _V6[1], _V6[2]]
    assert in_turn([_V6[0], _V4[0], _V4[1]]) == [_V6[0], _V4[0], _V4[1]]


@pytest.mark.parametrize("no_way", _NO_IPV6_HERE, ids=lambda error: errno.errorcode[error.errno])
@pytest.mark.parametrize("theirs", [_REFUSED, _TOO_LATE], ids=["refused", "too late"])
def test_a_family_that_this_machine_lacks_hides_no_failure_of_the_other(
    theirs: OSError, no_way: OSError
) -> None:
    assert most_telling([theirs, no_way]) is theirs
    assert most_telling([no_way, theirs]) is theirs


def test_of_failures_alike_the_first_is_told() -> None:
    assert most_telling([_REFUSED, _TOO_LATE]) is _REFUSED
    assert most_telling(_NO_IPV6_HERE) is _NO_IPV6_HERE[0]
