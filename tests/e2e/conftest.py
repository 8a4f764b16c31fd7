"""The whole suite, from outside."""

from __future__ import annotations

from tests.support.bus import bus, cable

__all__ = ["bus", "cable"]
