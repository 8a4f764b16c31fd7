from __future__ import annotations

import hashlib

import pytest

from mailement_common.ids import event_id, request_id, trace_id, traceparent

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_an_event_s_id_is_the_same_for_ever() -> None:
    assert event_id("subscriber", 7, 3) == event_id("subscriber", 7, 3)


def test_an_event_s_id_is_the_hash_of_what_caused_it_as_uuid_version_8() -> None:
    made = event_id("subscriber", 7, 3)
    digest = hashlib.sha256(b"subscriber:7:3").digest()

    assert (made.version, made.variant) == (8, "specified in RFC 4122")
    assert made.bytes[:6] == digest[:6]
    assert made.bytes[9:] == digest[9:16]


def test_different_causes_have_different_ids() -> None:
    causes = [("subscriber", 1, 11), ("subscriber", 11, 1), ("subscriber", 1, 1), ("drip", 1, 1)]

    assert len({event_id(*cause) for cause in causes}) == len(causes)


@pytest.mark.parametrize("offered", ["a", "req-1.2_3", "x" * 128])
def test_a_harmless_request_id_is_kept(offered: str) -> None:
    assert request_id(offered) == offered


@pytest.mark.parametrize(
    "offered", [None, "", "x" * 129, "a b", "a\n", "a\r\nSet-Cookie: b", "ä", "<script>"]
)
def test_any_other_request_id_is_replaced(offered: str | None) -> None:
    first, second = request_id(offered), request_id(offered)

    assert first != offered
    assert first != second
    assert request_id(first) == first


def test_a_trace_goes_on() -> None:
    assert traceparent(PARENT) == PARENT
    assert trace_id(PARENT) == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "offered",
    [
        None,
        "",
        PARENT.upper(),
        PARENT + "\n",
        PARENT.replace("00-4", "ff-4"),
        PARENT + "-more",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
    ],
)
def test_what_is_no_trace_starts_a_new_one(offered: str | None) -> None:
    made = traceparent(offered)

    assert made != offered
    assert traceparent(made) == made
    assert made != traceparent(offered)
