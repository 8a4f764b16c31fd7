from __future__ import annotations

import socket

import pytest

from tests.support.database import database

__all__ = ["database"]


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
