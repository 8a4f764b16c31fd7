"""What a key may do beside the documented calls and reading."""

from __future__ import annotations

from enum import StrEnum


class KeyScope(StrEnum):
    """`drips:write`: make and change drips, and what `events:write` allows: tell of events that drips start and end by."""

    DRIPS_WRITE = "drips:write"
    EVENTS_WRITE = "events:write"
