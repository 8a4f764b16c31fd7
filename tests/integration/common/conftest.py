"""The common machinery against the real servers."""

from __future__ import annotations

from tests.support.bus import bus, cable

__all__ = ["bus", "cable"]
