"""Ids of events: made from what caused them, the same for ever."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from mailement_common.ids import event_id


def test_an_event_id_never_changes() -> None:
    assert event_id("subscriber", 41023, 1) == UUID("b4a96ab5-952c-8f71-8578-cce4e0ecf92d")


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=2**63 - 1), st.integers(min_value=1, max_value=2**31 - 1))
def test_an_event_id_is_a_uuid_of_version_8(row_id: int, version: int) -> None:
    made = event_id("subscriber", row_id, version)
    assert (made.version, made.variant) == (8, "specified in RFC 4122")


def test_kind_row_and_version_each_make_another_id() -> None:
    ids = {
        event_id(kind, row_id, version)
        for kind in ("subscriber", "enrollment")
        for row_id in (1, 11)
        for version in (1, 11)
    }
    assert len(ids) == 8
